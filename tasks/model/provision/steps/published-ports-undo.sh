# Back to where Docker alone decides; the next `fab setup` finds it missing.
rm -f "/etc/published-ports/$APP"
if [ -z "$(ls /etc/published-ports 2>/dev/null)" ]; then
    systemctl --quiet disable published-ports.service 2>/dev/null || :
    if [ -x /usr/local/sbin/published-ports ]; then /usr/local/sbin/published-ports remove; fi
    rm -f /etc/systemd/system/docker.service.d/60-published-ports.conf
    systemctl daemon-reload
else
    systemctl restart published-ports.service
fi
