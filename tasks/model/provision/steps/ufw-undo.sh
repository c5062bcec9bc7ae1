[ -d "$ARMED/ufw" ] || exit 0
ufw --force disable >/dev/null
cp -a "$ARMED/ufw/default" /etc/default/ufw
find "$ARMED/ufw" -mindepth 1 -maxdepth 1 ! -name default -exec cp -a {} /etc/ufw/ \;
if grep -q '^ENABLED=yes' /etc/ufw/ufw.conf; then ufw --force enable >/dev/null; fi
