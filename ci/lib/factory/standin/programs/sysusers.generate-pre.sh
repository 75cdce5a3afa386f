#!/bin/bash
# Reads files of sysusers.d(5) and writes the shell commands that create their users and groups with shadow-utils: for
# %pre, where an rpm older than 4.20 does not do it itself. Like EL's, it does not know "u!", which systemd has from 257.
#
#   sysusers.generate-pre.sh FILE…
set -euo pipefail

default() { if [ -z "${1:-}" ] || [ "$1" = - ]; then printf '%s' "$2"; else printf '%s' "$1"; fi; }

make_group() {
    # $1: name, $2: number or "-"
    local option=
    [ "$2" = - ] || option="-f -g $2 "
    echo "getent group ${1@Q} > /dev/null || groupadd -r $option${1@Q} || :"
}

make_user() {
    # The description is quoted as older scripts do it: an apostrophe in it ends the quotation.
    # $1: name, $2: number or "-", $3: group, $4: gecos, $5: home, $6: shell
    local option=
    [ "$2" = - ] || option="-u $2 "
    echo "getent passwd ${1@Q} > /dev/null ||" \
        "useradd -r $option-g ${3@Q} -d ${5@Q} -s ${6@Q} -c '$4' ${1@Q} || :"
}

for file in "$@"; do
    while read -r line || [ -n "$line" ]; do
        case $line in '' | '#'* | ';'*) continue ;; esac
        # Fields are separated and quoted as a shell does; xargs knows the quotes and expands nothing.
        mapfile -t field < <(xargs -n 1 printf '%s\n' <<< "$line")
        name=${field[1]:?"$file: a line without a name: $line"}
        case ${field[0]} in
        g) make_group "$name" "$(default "${field[2]:-}" -)" ;;
        u)
            number=$(default "${field[2]:-}" -)
            group=$name
            case $number in *:*) group=${number#*:} number=${number%%:*} ;; *) make_group "$name" "$number" ;; esac
            make_user "$name" "$number" "$group" "$(default "${field[3]:-}" '')" "$(default "${field[4]:-}" /)" \
                "$(default "${field[5]:-}" /usr/sbin/nologin)"
            ;;
        m)
            make_group "${field[2]}" -
            echo "usermod -a -G ${field[2]@Q} ${name@Q} || :"
            ;;
        r) ;;
        *)
            echo "$file: ${field[0]}: there is no such type of line in sysusers.d" >&2
            exit 1
            ;;
        esac
    done < "$file"
done
