# shellcheck shell=bash
# bash completion for hal                                                                          -*- shell-script -*-
#
# The commands are those that are installed, by looking at file names only. The arguments of "hal X" are completed by the
# function _hal_X of the completion file hal-X beside this one, which completes "hal-X" itself as well: it is called with
# the words "hal-X …".

_hal_commands() {
    local directory file IFS=:
    for directory in /usr/libexec/hal $PATH; do
        for file in "$directory"/hal-*; do
            # Only what says what it is for: the others are not for people.
            [[ -f $file && -x $file ]] && head -n 10 -- "$file" 2> /dev/null | grep -q '^# hal-summary: ' \
                && printf '%s\n' "${file##*/hal-}"
        done
    done
}

_hal_load() {
    # Make the function _hal_$1 known: ask bash-completion, then look beside this file.
    declare -F "_hal_$1" > /dev/null && return 0
    local beside="${BASH_SOURCE[0]%/*}/hal-$1"
    # shellcheck source=/dev/null
    if [[ -r $beside ]]; then . "$beside"; elif [[ -r $beside.bash ]]; then . "$beside.bash"; fi
    declare -F "_hal_$1" > /dev/null || { declare -F _completion_loader > /dev/null && _completion_loader "hal-$1"; }
    declare -F "_hal_$1" > /dev/null
}

_hal() {
    local current=${COMP_WORDS[COMP_CWORD]} name=${COMP_WORDS[1]-}
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 || ($COMP_CWORD -eq 2 && $name == help) ]]; then
        local words
        words=$(_hal_commands)
        [[ $COMP_CWORD -eq 2 ]] || words+=" help --help --version"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    elif [[ $name =~ ^[a-z0-9-]+$ ]] && _hal_load "$name"; then
        COMP_WORDS=("hal-$name" "${COMP_WORDS[@]:2}")
        COMP_CWORD=$((COMP_CWORD - 1))
        "_hal_$name"
    fi
}

_hal_facts() {
    local current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --root ]]; then
        compopt -o default
    else
        mapfile -t COMPREPLY < <(compgen -W "--json --root --help" -- "$current")
    fi
}

_hal_record() {
    local current=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "--anonymize --root --help" -- "$current")
    else
        compopt -o default
    fi
}

_hal_check() {
    mapfile -t COMPREPLY < <(compgen -W "--json --defaults --help" -- "${COMP_WORDS[COMP_CWORD]}")
}

_hal_version() {
    mapfile -t COMPREPLY < <(compgen -W "--json --verify --help" -- "${COMP_WORDS[COMP_CWORD]}")
}

complete -F _hal hal
complete -F _hal_facts hal-facts
complete -F _hal_record hal-record
complete -F _hal_check hal-check
complete -F _hal_version hal-version
