# sudo ignores names with a dot: the rules are checked before they count.
temporary=$(mktemp "${RULES%/*}/.fab.XXXXXX")
trap 'rm -f "$temporary"' EXIT
printf '%s' "$CONTENT" >"$temporary"
chmod 0440 "$temporary"
visudo -c -q -f "$temporary"
mv "$temporary" "$RULES"
