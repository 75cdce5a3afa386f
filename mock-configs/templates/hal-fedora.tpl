# Fedora, any release: the config that includes this has set releasever and target_arch.
include('templates/fedora-branched.tpl')

config_opts['dist'] = 'fc{{ releasever }}'
config_opts['description'] = 'HAL on Fedora {{ releasever }}'
include(os.path.join(os.path.dirname(config_file), 'hal.tpl'))
