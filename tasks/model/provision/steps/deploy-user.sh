if ! getent passwd "$DEPLOY_USER" >/dev/null; then
    group=--user-group
    if getent group "$DEPLOY_USER" >/dev/null; then group="--gid=$DEPLOY_USER"; fi
    # The password * matches nothing; the ! that would be put otherwise means "locked", which sshd without PAM refuses.
    useradd --system "$group" --create-home --home-dir "/home/$DEPLOY_USER" --shell /bin/bash --password '*' "$DEPLOY_USER"
fi
case $(getent passwd "$DEPLOY_USER" | cut -d: -f7) in
*/nologin | */false) usermod --shell /bin/bash "$DEPLOY_USER" ;;
esac
usermod --append --groups docker "$DEPLOY_USER"

home=$(getent passwd "$DEPLOY_USER" | cut -d: -f6)
group=$(id -gn "$DEPLOY_USER")
install -d -m 0700 -o "$DEPLOY_USER" -g "$group" "$home/.ssh"
file=$home/.ssh/authorized_keys
temporary=$(mktemp "$home/.ssh/.fab.XXXXXX")
if [ -f "$file" ]; then cat "$file" >"$temporary"; fi
# A last line without its end would swallow the first key added.
if [ -n "$(tail -c 1 "$temporary")" ]; then echo >>"$temporary"; fi
printf '%s\n' "$KEYS" | while IFS= read -r key; do
    grep -qxF -e "$key" "$temporary" || printf '%s\n' "$key" >>"$temporary"
done
chown "$DEPLOY_USER:$group" "$temporary"
chmod 0600 "$temporary"
mv "$temporary" "$file"
