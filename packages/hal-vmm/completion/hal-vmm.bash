# shellcheck shell=bash
# bash completion for hal-vmm, and for "hal vmm"                                                   -*- shell-script -*-

_hal_vmm() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words
    COMPREPLY=()
    case $COMP_CWORD:${COMP_WORDS[1]}:$previous in
    1:*) words="plan apply preflight kvm-check run status start stop reset dump maintenance --help" ;;
    *:--root | *:preflight:--qemu) compopt -o default; return ;;
    *:--assume) words="debian12 el9 el10 fedora" ;;
    *:--for) words="30min 2h 1d" ;;
    *:plan:*) words="--json --qemu --root --assume --help" ;;
    *:apply:*) words="--json --repin --help" ;;
    *:preflight:*) words="--json --qemu --assume --help" ;;
    *:kvm-check:*) words="--json --cpu --help" ;;
    *:run:*) words="--announce --child --verbose --help" ;;
    *:status:*) words="--json --help" ;;
    *:stop:*) words="--force --if-running --help" ;;
    2:maintenance:*) words="on off --help" ;;
    *:maintenance:*) words="--for --help" ;;
    *) words="--help" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _hal_vmm hal-vmm
