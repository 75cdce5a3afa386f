# shellcheck shell=bash
# bash completion for hal-console, and for "hal console"                                           -*- shell-script -*-

_hal_console() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
    COMPREPLY=()
    case $COMP_CWORD:${COMP_WORDS[1]}:$previous in
    1:*) words="plan run status attach restore --attach --help" ;;
    *:--serial) words="com1 com2 com3 com4" ;;
    *:--tty) compopt -o default; return ;;
    *:plan:* | *:status:*) words="--json --help" ;;
    *:run:*) words="--verbose --help" ;;
    *:attach:* | *:--attach:*) words="--serial --help" ;;
    *:restore:*) words="--tty --help" ;;
    *) words="--help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _hal_console hal-console
