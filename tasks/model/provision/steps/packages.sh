update
log=$(mktemp)
failed=$(mktemp)
trap 'rm -f "$log" "$failed"' EXIT
# Of apt's hundreds of lines only the packages that were asked for are news; the rest is kept for the case of a failure.
# shellcheck disable=SC2086
{ apt_get install --no-install-recommends $PACKAGES 2>&1 && rm "$failed"; } | tee "$log" | while read -r verb up name version _; do
    case "$verb $up: $PACKAGES " in
    "Setting up:"*" $name "*) printf '%s %s\n' "$name" "$version" ;;
    esac
done
if [ -e "$failed" ]; then
    tail -n 20 "$log" >&2
    exit 1
fi
