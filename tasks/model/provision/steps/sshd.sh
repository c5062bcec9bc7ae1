install -d -m 0755 /run/sshd
if [ -f "$DROPIN" ]; then
    cp -p "$DROPIN" "$ARMED/sshd.part"
    mv "$ARMED/sshd.part" "$ARMED/sshd"
else
    : >"$ARMED/sshd.absent"
fi
put "$DROPIN" 0644 "$CONTENT"
[ -f /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
sshd -t
if ! sshd -T 2>/dev/null | grep -qx 'permitrootlogin no'; then
    echo "sshd does not take ${DROPIN}: does /etc/ssh/sshd_config still include sshd_config.d, before everything else?" >&2
    exit 1
fi
# a reload, not a restart: connections that are open stay open
systemctl try-reload-or-restart ssh.service
