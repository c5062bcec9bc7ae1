if [ -e "$ARMED/sshd.absent" ]; then
    rm -f "$DROPIN"
elif [ -e "$ARMED/sshd" ]; then
    cp -p "$ARMED/sshd" "$DROPIN.part"
    mv "$DROPIN.part" "$DROPIN"
else
    exit 0 # it never came to a change
fi
install -d -m 0755 /run/sshd
sshd -t
systemctl try-reload-or-restart ssh.service || :
# one that did not survive the change has to come back
if ! systemctl --quiet is-active ssh.service ssh.socket; then
    systemctl reset-failed ssh.service || :
    systemctl start ssh.service
fi
