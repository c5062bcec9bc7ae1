# Reads what `fab` wants to know about a host and changes nothing. Runs as root under any POSIX sh, before python3 is there.
# Set above this text: APP, DEPLOY_USER (names, already validated) and MARK (16 hexadecimal digits, new in every run).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME

section() { printf '@@facts %s section %s\n' "$MARK" "$1"; }

host() {
    section host
    (
        # shellcheck disable=SC1091
        . /etc/os-release
        printf 'os_id=%s\nos_version=%s\nos_codename=%s\n' "${ID-}" "${VERSION_ID-}" "${VERSION_CODENAME-}"
    ) 2>/dev/null
    printf 'arch=%s\nkernel=%s\nuid=%s\n' "$(dpkg --print-architecture 2>/dev/null)" "$(uname -r)" "$(id -u)"
    login=${SUDO_USER-}
    [ -n "$login" ] || login=$(id -un)
    printf 'user=%s\n' "$login"
    if [ -d /run/systemd/system ]; then echo systemd=yes; else echo systemd=no; fi
    printf 'container=%s\n' "$(systemd-detect-virt --container 2>/dev/null)"
    printf 'apparmor=%s\n' "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)"
    while read -r key value _; do
        case $key in
        MemTotal:) printf 'memory_kib=%s\n' "$value" ;;
        SwapTotal:) printf 'swap_kib=%s\n' "$value" ;;
        esac
    done </proc/meminfo
    data=/var/lib/docker
    [ -d $data ] || data=/var/lib
    df -Pk / $data 2>/dev/null | awk 'NR == 2 { print "root_free_kib=" $4 } NR == 3 { print "data_free_kib=" $4 }'
    printf 'root_filesystem=%s\n' "$(stat -f -c %T /)"
    grep -q '^[^#]*[[:space:]]swap[[:space:]]' /etc/fstab 2>/dev/null && echo fstab_swap=yes
    [ -s /var/lib/docker/swarm/docker-state.json ] && echo swarm=yes
    if grep -q . /proc/net/if_inet6 2>/dev/null; then echo ipv6=yes; fi
    for module in dccp sctp rds tipc cramfs freevxfs hfs hfsplus jffs2 firewire_core usb_storage; do
        [ -d /sys/module/$module ] && printf 'module_%s=loaded\n' $module
    done
    printf 'rsa_host_key_bits=%s\n' "$(ssh-keygen -lf /etc/ssh/ssh_host_rsa_key.pub 2>/dev/null | cut -d' ' -f1)"
    printf 'ssh_kex=%s\n' "$(ssh -Q kex 2>/dev/null | paste -sd ' ' -)"
    # sudo empties the environment; the shell that sshd started still has the address and port this connection came in by.
    pid=$$
    for _ in 1 2 3 4 5 6 7 8; do
        connection=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
        pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
        [ -z "$connection" ] || break
        [ "${pid:-0}" -gt 1 ] || break
    done
    printf 'ssh_connection=%s\n' "$connection"
}

packages() {
    section packages # state, name, version: those asked about, and any that an interrupted installation left behind
    # shellcheck disable=SC2016
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' 2>/dev/null | awk -v wanted=" $1 " '
        $1 == "not-installed" || $1 == "config-files" { next }
        $1 != "installed" || index(wanted, " " $2 " ") { print }'
    [ -z "$(ls /var/lib/dpkg/updates 2>/dev/null)" ] || echo 'interrupted dpkg -'
    section apt-sources
    grep -lsE '^[^#]*download\.docker\.com' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources
}

python() {
    section python # the version, then what the Docker daemon's settings say about the few keys that setup cares for
    # Only these keys leave the host: a proxy address or a log driver's option with a password may stand in the same file.
    # Which firewall it writes may also be said by a flag of its unit.
    backend=$({ tr '\0' ' ' <"/proc/$(pidof -s dockerd)/cmdline" | sed -n 's/.*--firewall-backend[= ]\([a-z]*\).*/\1/p'; } 2>/dev/null)
    python3 -I -S -c '
import json, platform, sys
print(platform.python_version())
backend = {"firewall-backend": sys.argv[1]} if sys.argv[1] else {}
try:
    with open("/etc/docker/daemon.json", encoding="utf-8") as file:
        text = file.read()
except FileNotFoundError:
    if backend:
        print(json.dumps(backend))
    raise SystemExit
try:
    settings = json.loads(text) if text.strip() else {}
    keys = ("log-driver", "log-opts", "live-restore", "no-new-privileges", "icc", "default-address-pools",
            "default-network-opts", "ip6tables", "experimental", "firewall-backend")
    named = {key: value for key, value in settings.items() if key in keys} | backend
    if isinstance(named.get("log-opts"), dict):
        named["log-opts"] = {key: value for key, value in named["log-opts"].items() if key in ("max-size", "max-file")}
    print(json.dumps(named))
except (ValueError, AttributeError):
    print("invalid")
' "$backend" 2>/dev/null
}

docker_engine() {
    section docker
    engine=$(command -v dockerd) && printf 'engine=%s\n' "$(readlink -f "$engine")"
    client=$(command -v docker) && printf 'client=%s\n' "$(readlink -f "$client")"
    for plugin in /usr/local/lib/docker/cli-plugins /usr/local/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins \
        /usr/libexec/docker/cli-plugins /root/.docker/cli-plugins; do
        [ -x $plugin/docker-compose ] && printf 'compose=%s\n' $plugin/docker-compose && break
    done
}

firewall() {
    section ufw # the files that ufw itself reads; `ufw status` starts Python and iptables several times to say the same
    if [ -f /etc/ufw/ufw.conf ]; then
        grep -E '^ENABLED=' /etc/ufw/ufw.conf
        grep -E '^(IPV6|DEFAULT_INPUT_POLICY)=' /etc/default/ufw
        iptables -n -L ufw-user-input >/dev/null 2>&1 && echo LOADED=yes
        sed -n 's/^### tuple ### /v4 /p' /etc/ufw/user.rules
        sed -n 's/^### tuple ### /v6 /p' /etc/ufw/user6.rules
    fi 2>/dev/null
    section published-ports # "ok", or why what is closed to the outside may not be
    if [ -x /usr/local/sbin/published-ports ]; then
        /usr/local/sbin/published-ports check 2>/dev/null && echo ok
    fi
}

SSHD_KEYS='port|authorizedkeysfile|allowusers|allowgroups|denyusers|denygroups|permitrootlogin|passwordauthentication'
SSHD_KEYS="$SSHD_KEYS|kbdinteractiveauthentication|authenticationmethods|kexalgorithms"

sshd_settings() {
    section sshd
    effective=$(sshd -T 2>/dev/null)
    if [ -n "$effective" ]; then
        printf '%s\n' "$effective" | grep -E "^($SSHD_KEYS) "
    else # a socket-activated sshd has no /run/sshd between connections, and -T refuses to work without
        sed -n 's/^[[:space:]]*[Pp]ort[[:space:]=]*/port /p' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf 2>/dev/null
    fi
    systemctl show ssh.socket -p ActiveState -p Listen 2>/dev/null | sed 's/^/socket /'
}

login_settings() {
    section login-defs
    for name in UMASK PASS_MIN_DAYS SHA_CRYPT_MIN_ROUNDS; do
        sed -n "s/^[[:space:]]*$name[[:space:]]\{1,\}\([^[:space:]]*\).*/$name=\1/p" /etc/login.defs
    done 2>/dev/null
    section stock-banners # those that still say what the distribution wrote there
    grep -lsE '^(Debian GNU/Linux|Ubuntu) ' /etc/issue /etc/issue.net
    section debsums
    sed -n 's/^CRON_CHECK=//p' /etc/default/debsums 2>/dev/null
}

account() { # $1: section, $2: user name
    section "$1"
    line=$(getent passwd "$2") || return 0
    printf 'passwd=%s\ngroups=%s\n' "$line" "$(id -nG "$2")"
    home=$(printf '%s' "$line" | cut -d: -f6)
    for file in "$home" "$home/.ssh" "$home/.ssh/authorized_keys"; do
        stat -c "mode=%F|%a|%U|%G|%n" "$file" 2>/dev/null
    done
    sed -n 's/^[[:space:]]*\([^#[:space:]]\)/key=\1/p' "$home/.ssh/authorized_keys" 2>/dev/null
}

paths() {
    root=/opt/$APP
    files="/usr/local/bin/$APP /etc/sudoers.d/$APP-deploy /etc/apt/apt.conf.d/52$APP-upgrades /etc/docker/daemon.json
        /etc/apt/keyrings/docker.asc /etc/apt/sources.list.d/docker.sources /swapfile
        /usr/local/sbin/published-ports /etc/published-ports/$APP /etc/systemd/system/published-ports.service
        /etc/systemd/system/docker.service.d/60-published-ports.conf /etc/ssh/sshd_config.d/00-$APP.conf
        /etc/sysctl.d/60-$APP.conf /etc/sysctl.d/60-$APP-hardening.conf /etc/modprobe.d/60-$APP.conf
        /etc/security/limits.d/60-$APP.conf /etc/profile.d/60-$APP.sh /etc/systemd/coredump.conf.d/60-$APP.conf
        /etc/systemd/journald.conf.d/60-$APP.conf /etc/crontab"
    section paths
    # shellcheck disable=SC2086
    stat -c '%F|%a|%U|%G|%n' "$root" "$root/releases" "$root/live" "$root/shared" "$root/shared/tls" \
        "$root/shared/backups" "$root/shared/state" /etc/cron.d /etc/cron.daily /etc/cron.hourly /etc/cron.weekly \
        /etc/cron.monthly /etc/sudoers.d $files 2>/dev/null
    section sha256
    for file in $files; do
        [ "$file" != /swapfile ] && [ -f "$file" ] && sha256sum "$file"
    done 2>/dev/null
    section program # how the file at the program's place begins, to tell ours from a stranger's
    [ -f "/usr/local/bin/$APP" ] && head -c 64 "/usr/local/bin/$APP" | tr -cd '[:print:]\n' | head -n 1 && echo
}

units() {
    section units
    systemctl show -p Id -p LoadState -p ActiveState -p UnitFileState \
        docker.service certbot.timer apt-daily.timer apt-daily-upgrade.timer ufw.service published-ports.service systemd-timesyncd.service chrony.service ntpsec.service openntpd.service "$APP.service" 2>/dev/null
}

status() { # by far the slowest part, and the only one that may fail on its own
    [ -x "/usr/local/bin/$APP" ] && timeout 20 "/usr/local/bin/$APP" status 2>/dev/null && echo
}

facts() {
    printf '\n@@facts %s begin 1\n' "$MARK"
    host
    packages "$PACKAGES"
    python
    docker_engine
    firewall
    sshd_settings
    login_settings
    account deploy "$DEPLOY_USER"
    account login "$login"
    paths
    units
}

# Nothing runs before this line has been read: a script that comes over stdin must not be eaten by what it starts.
# The status is found out meanwhile, and waits in the pipe.
status </dev/null | {
    facts </dev/null
    section status
    cat
    printf '@@facts %s end\n' "$MARK"
}
