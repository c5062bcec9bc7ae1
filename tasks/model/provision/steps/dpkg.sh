# What looks interrupted may be somebody's running installation: then its lock is taken, and waited for.
waited=0
while ! said=$(dpkg --force-confdef --force-confold --configure -a 2>&1); do
    case $said in
    *'frontend lock was locked'* | *'database lock was locked'* | *'status database is locked'*) ;;
    *) waited=300 ;;
    esac
    if [ $waited -ge 300 ]; then
        printf '%s\n' "$said" >&2
        exit 1
    fi
    sleep 5
    waited=$((waited + 5))
done
printf '%s\n' "$said"
