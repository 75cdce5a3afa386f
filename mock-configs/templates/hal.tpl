# What every HAL chroot has, whatever it is made of: the target's template includes this last.
#
# config_file is mock's name for the file being read: in an include(), the file that the include() stands in; anywhere
# else, the file that was given with -r. No backslash may be in a file that is included: mock pastes it in with re.sub().

# The HAL repository: what ci/rpms has put into the checkout's dist/. local.cfg, or --config-opts=hal_repository=URL,
# may name another; with hal_gpgkey its packages must be signed with that key.
config_opts['hal_repository'] = 'file://' + os.path.dirname(os.path.dirname(config_file)) + '/dist/{{ dist }}'
config_opts['hal_gpgkey'] = ''

# The same commit gives the same packages, on whichever machine and whenever: no time is later than the changelog's.
config_opts['macros'].update({
    '%_buildhost': 'hal.invalid',
    '%source_date_epoch_from_changelog': '1',
    '%use_source_date_epoch_as_buildtime': '1',
    '%clamp_mtime_to_source_date_epoch': '1',  # until rpm 4.19
    '%build_mtime_policy': 'clamp_to_source_date_epoch',  # since rpm 4.20
})
# mock's defaults, said again because a host's site-defaults.cfg may say otherwise: a build that needs the network fails.
config_opts['rpmbuild_networking'] = False
config_opts['use_host_resolv'] = False

include(next(filter(os.path.exists, [os.path.join(os.path.dirname(config_file), '../local.cfg'), os.devnull])))

# Nothing of it exists at the very first build; a repository that is somewhere else has to be there. No priority: what
# ci/rpms has just built comes with --addrepo, and must not lose to what is older here.
config_opts['dnf.conf'] += """

[hal]
name=HAL
baseurl={{ hal_repository }}
gpgcheck={{ hal_gpgkey != '' }}
gpgkey={{ hal_gpgkey }}
metadata_expire=0
skip_if_unavailable={{ hal_repository.startswith('file:') }}
"""
