if ! grep -q "^$SWAP_FILE " /proc/swaps; then
    rm -f "$SWAP_FILE" # left over from an attempt that was interrupted
    (umask 077 && fallocate -l "$SIZE" "$SWAP_FILE")
    mkswap "$SWAP_FILE" >/dev/null
    swapon "$SWAP_FILE"
fi
if ! grep -q "^${SWAP_FILE}[[:space:]]" /etc/fstab; then
    printf '%s none swap sw 0 0\n' "$SWAP_FILE" >>/etc/fstab
fi
