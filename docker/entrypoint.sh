#!/bin/sh
# What a container starts: the broker, with the settings that it was given under the names of RabbitMQ's image.
set -eu

# `docker run leveret --log-level debug` means the broker with this flag.
case ${1:-} in
    '' | -*) set -- leveret "$@" ;;
esac
case $1 in
    leveret | rabbitmq-server) ;;
    *) exec "$@" ;;
esac

say() { echo "docker-entrypoint.sh: $*" >&2; }

# adopt THEIRS OURS: OURS is set to THEIRS, or to what is in the file that THEIRS_FILE names, unless it is set itself.
adopt() {
    eval "ours=\${$2:-} theirs=\${$1:-} file=\${${1}_FILE:-}"
    if [ -z "$theirs" ] && [ -n "$file" ]; then theirs=$(cat "$file"); fi
    if [ -n "$theirs" ] && [ -z "$ours" ]; then export "$2=$theirs"; fi
    unset "$1" "${1}_FILE"
}
adopt RABBITMQ_DEFAULT_USER LEVERET_DEFAULT_USER
adopt RABBITMQ_DEFAULT_PASS LEVERET_DEFAULT_PASS
adopt RABBITMQ_DEFAULT_VHOST LEVERET_VHOSTS

# A setting that does nothing is worse than one that is refused, but most of these can be left where they are. Those of
# SERVICE and PORT are no settings: orchestrators tell of a service called rabbitmq by them.
for name in $(env | sed -n 's/^\(RABBITMQ_[A-Z0-9_]*\)=.*/\1/p' | grep -v -e '^RABBITMQ_SERVICE_' -e '^RABBITMQ_PORT'); do
    say "$name is set and has no effect"
done
for file in /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/advanced.config /etc/rabbitmq/conf.d/*.conf; do
    if [ -e "$file" ]; then say "$file is not read: settings belong into /etc/leveret/leveret.toml or LEVERET_…"; fi
done

exec "$@"
