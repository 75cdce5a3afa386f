# EL 10: as EL 9. "z" is the EPEL for released minor versions; the one without it is for CentOS Stream.
include('templates/almalinux-10.tpl')
include('templates/epel-z-10.tpl')

config_opts['dist'] = 'el10'
config_opts['description'] = 'HAL on EL 10'
include(os.path.join(os.path.dirname(config_file), 'hal.tpl'))
