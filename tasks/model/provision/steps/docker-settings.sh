file=/etc/docker/daemon.json
before=$file.before-$APP

restart() { # true when the engine answers afterwards
    systemctl reset-failed docker.service 2>/dev/null || true
    # Containers of an engine that already knows live-restore survive its restart: a reload alone sets that key.
    systemctl reload docker.service 2>/dev/null || true
    systemctl restart docker.service || return 1
    tries=0
    until docker version >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 30 ] || return 1
        sleep 1
    done
}

install -d -m 0755 /etc/docker
candidate=$(mktemp /etc/docker/.fab.XXXXXX)
trap 'rm -f "$candidate"' EXIT
python3 -I -c "$MERGE" "$file" "$MISSING" >"$candidate"
if dockerd --help 2>&1 | grep -q -e --validate; then # since Docker 23
    said=$(dockerd --validate --config-file="$candidate" 2>&1) || {
        printf '%s\n' "$said" >&2
        exit 1
    }
fi
mode=0644
if [ -f $file ]; then
    mode=$(stat -c %a $file)
    [ -e "$before" ] || cp -p $file "$before" # the first one is the user's own
    cp -p $file "$candidate.old"
fi
chmod "$mode" "$candidate"
mv "$candidate" $file
if restart; then
    rm -f "$candidate.old"
    exit 0
fi
# A drop-in of the unit may set the same key as a flag, which only a start can tell.
reason=$(journalctl -u docker.service -n 50 -o cat 2>/dev/null | grep -E 'unable to configure|failed to start' | tail -n 1) || true
if [ -f "$candidate.old" ]; then mv "$candidate.old" $file; else rm -f $file; fi
restart || true
echo "the Docker engine did not start with the new daemon.json, so the old one is back: ${reason:-journalctl -u docker}" >&2
exit 1
