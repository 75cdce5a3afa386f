# EL 9. AlmaLinux, because it follows RHEL's minor releases and needs no subscription; and not CentOS Stream, which is ahead
# of them: hal-selinux requires at least the selinux-policy it was built with. For RHEL or Rocky Linux, change one line.
include('templates/almalinux-9.tpl')
include('templates/epel-9.tpl')

config_opts['dist'] = 'el9'
config_opts['description'] = 'HAL on EL 9'
include(os.path.join(os.path.dirname(config_file), 'hal.tpl'))
