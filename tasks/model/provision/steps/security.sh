# The security updates that wait now: the timer would install them tomorrow, and tonight the host is already in the open.
install_security_updates() {
    update || return 1
    waited=0 # whoever else uses apt is waited for, at most 300 seconds
    while ! said=$(unattended-upgrade --verbose 2>&1); do
        case $said in
        *[Ll]'ock could not be acquired'* | *'another package manager'*) ;;
        *) waited=300 ;;
        esac
        if [ $waited -ge 300 ]; then
            printf '%s\n' "$said" | tail -n 20 >&2
            return 1
        fi
        sleep 5
        waited=$((waited + 5))
    done
    printf '%s\n' "$said" | sed -n 's/^Packages that will be upgraded: /security updates: /p'
}

# Without the settings nothing is installed; with them, and without the updates, nobody would ask for these again today.
if ! install_security_updates; then
    rm -f "$SETTINGS"
    echo "the security updates that wait were not installed" >&2
    exit 1
fi
