install -d -m 0755 "${KEYRING%/*}"
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
chmod 0755 "$fetched"
if id _apt >/dev/null 2>&1; then chown _apt "$fetched"; fi # apt downloads as that user where it may
# apt's own downloader, for it knows the host's proxy and certificates.
/usr/lib/apt/apt-helper -qq -o Acquire::Retries=3 download-file "$KEY" "$fetched/docker.asc"
python3 -I -c "$CHECK" "$fetched/docker.asc" "$FINGERPRINT"
put "$KEYRING" 0644 "$(cat "$fetched/docker.asc")
"
put "$SOURCES" 0644 "$LISTING"
