put() { # $1: path, $2: mode, $3: content; never there half written, nor for a moment with another mode
    [ -d "${1%/*}" ] || install -d -m 0755 "${1%/*}"
    temporary=$(mktemp "${1%/*}/.fab.XXXXXX")
    printf '%s' "$3" >"$temporary"
    chmod "$2" "$temporary"
    mv "$temporary" "$1"
}

