# Before the files, which are what is looked for next time. A key that this kernel does not know, or that a container may
# not set, is no reason to stop: it is named.
printf '%s\n' "$KEYS" | while read -r key value; do
    sysctl -q -w "$key=$value" >/dev/null 2>&1 || echo "not settable here: $key"
done
