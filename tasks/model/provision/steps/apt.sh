# Whoever else uses apt at this moment (unattended-upgrades on a fresh VPS does) is waited for, at most 300 seconds.
apt_get() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

update() { # apt's own timeout is for the lock on packages, not for the one on the lists
    waited=0
    while ! said=$(apt_get update 2>&1); do
        case $said in
        *'get lock /var/lib/apt/lists/lock'*) ;;
        *) waited=300 ;;
        esac
        if [ $waited -ge 300 ]; then
            printf '%s\n' "$said" >&2
            return 1
        fi
        sleep 5
        waited=$((waited + 5))
    done
    # A source that cannot be reached is no failure yet, but the reason when a package is not found afterwards.
    printf '%s\n' "$said" | grep '^W: Failed' >&2 || true
}

