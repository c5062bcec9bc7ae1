# One line of /etc/login.defs each: changed where it is, added where it is not.
file=/etc/login.defs
temporary=$(mktemp "${file%/*}/.fab.XXXXXX")
trap 'rm -f "$temporary"' EXIT
cp -p $file "$temporary"
printf '%s\n' "$LINES" | while read -r key value; do
    [ -n "$key" ] || continue
    if grep -q "^[[:space:]]*$key[[:space:]]" "$temporary"; then
        sed -i "s/^[[:space:]]*$key[[:space:]].*/$key $value/" "$temporary"
    else
        printf '%s %s\n' "$key" "$value" >>"$temporary"
    fi
done
chmod 0644 "$temporary"
mv "$temporary" $file
