#!/bin/sh
exec python3 -m stand_in "$@"
