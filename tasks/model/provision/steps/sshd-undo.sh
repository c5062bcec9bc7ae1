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
systemctl try-reload-or-restart ssh.service
