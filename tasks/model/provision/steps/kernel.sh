# Before the files, which are what is looked for next time. A key that this kernel does not know, or that a container may
# not set, is no reason to stop: it is named. So is one that a file read after ours sets: that is what counts at a boot.
printf '%s\n' "$KEYS" | while read -r key value; do
    said="^[[:space:]]*-?$(printf '%s' "$key" | sed 's|\.|[./]|g')[[:space:]]*="
    later=$(grep -lsE "$said" /etc/sysctl.d/[6-9a-zA-Z]*.conf | grep -v "^/etc/sysctl.d/60-$APP" | tail -n 1) || :
    if [ -n "$later" ]; then
        echo "left as $later says: $key"
    else
        sysctl -q -w "$key=$value" >/dev/null 2>&1 || echo "not settable here: $key"
    fi
done
