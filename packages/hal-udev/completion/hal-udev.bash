# shellcheck shell=bash
# bash completion for hal-udev, and for "hal udev"                                                 -*- shell-script -*-

_hal_udev() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
    COMPREPLY=()
    case $COMP_CWORD:${COMP_WORDS[1]}:$previous in
    1:*) words="facts plan apply run status --help" ;;
    *:--root) compopt -o default; return ;;
    *:facts:* | *:plan:*) words="--json --root --help" ;;
    *:apply:*) words="--dry-run --json --help" ;;
    *:run:*) words="--verbose --help" ;;
    *:status:*) words="--json --help" ;;
    *) words="--help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _hal_udev hal-udev
