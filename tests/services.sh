#!/usr/bin/env bash
# Private instances of PostgreSQL, RabbitMQ and Redis: on loopback, on free ports, with their data in one directory.
#
#   services.sh up [--for PID] DIR           starts all three; with --for they end when that process does
#   services.sh down DIR                     ends them and removes DIR
#   services.sh env DIR                      prints the settings of the tests, to be sourced
#   services.sh settings DIR                 prints the settings of an engine that is to use them
#   services.sh run -- COMMAND…              runs a command beside instances of its own, with the tools that tests need; its
#                                            exit code is the command's
#   services.sh provide TOOL…                sees to it that tools are there: curl, node, npm, venv (of Python), promtool
#   services.sh stop|start|kill|wipe SERVICE DIR
#                                            one of postgres, rabbitmq, redis: in order; again; at once; start with no data
#
# A service whose TEST_POSTGRES_URL, TEST_AMQP_URL (with TEST_AMQP_ADMIN) or TEST_REDIS_URL is set is not started but taken
# from there. What is missing on a Debian machine is installed when that is allowed. Everything is ended by the process id
# noted when it was started; no other instance is ever touched.
set -euo pipefail

SELF=$(realpath "${BASH_SOURCE[0]}")
# RabbitMQ needs 15 s on a quiet machine and twice that on a busy one.
START_SECONDS=120
STOP_SECONDS=30
RABBIT_BIN=/usr/lib/rabbitmq/bin
SERVICES="postgres rabbitmq redis"
# What tests need beside them.
TOOLS=promtool

main() {
    local verb=${1:-}
    shift || usage
    case $verb in
        up) up "$@" ;;
        down) [ $# = 1 ] || usage; down "$1" ;;
        env) [ $# = 1 ] || usage; cat "$1/env" ;;
        settings) [ $# = 1 ] || usage; settings "$1" ;;
        provide) [ $# -gt 0 ] || usage; provide "$*" ;;
        run) [ "${1:-}" = -- ] && [ $# -gt 1 ] || usage; shift; run "$@" ;;
        guard) guard "$@" ;;
        stop|start|kill|wipe) [ $# = 2 ] || usage; one "$verb" "$1" "$2" ;;
        *) usage ;;
    esac
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$SELF" >&2; exit 64; }
fail() { echo "services.sh: $*" >&2; exit 1; }

# --- all of them ---
up() {
    local for=
    if [ "${1:-}" = --for ]; then for=${2:-}; shift 2; fi
    [ $# = 1 ] || usage
    local dir
    mkdir -p "$1" && dir=$(realpath "$1")
    [ ! -e "$dir/secret" ] || fail "$dir is in use already; end it with: tests/services.sh down $dir"
    local own; own=$(to_start)
    provide "$own"
    # The database's own user has to get through, and nobody else to read.
    chmod 711 "$dir"
    (umask 077; head -c 18 /dev/urandom | base64 | tr -dc A-Za-z0-9 > "$dir/secret")
    free_ports > "$dir/ports"
    if [ -n "$for" ]; then
        setsid "$SELF" guard "$for" "$dir" </dev/null >/dev/null 2>&1 &
    fi
    local service starting=() begun
    for service in $own; do
        starting "$service" "$dir" &
        starting+=($!)
    done
    for begun in "${starting[@]}"; do
        wait "$begun" || { down "$dir"; fail "not every service started"; }
    done
    (umask 077; settings_of_tests "$dir" "$own" > "$dir/env")
}

# Notes who starts it, so that nobody takes the directory away under a start that is under way.
starting() {
    local started=0
    echo "$BASHPID" > "$2/$1.starter"
    ("start_$1" "$2") || started=$?
    rm -f "$2/$1.starter"
    return "$started"
}

down() {
    local dir=$1 service
    [ -e "$dir/secret" ] || return 0
    for service in $SERVICES; do
        until_within "$START_SECONDS" nobody_starts "$service" "$dir" || echo "services.sh: $service still starts" >&2
    done
    for service in $SERVICES; do kill_"$service" "$dir"; done
    rm -rf "$dir"
}

nobody_starts() {
    alive "$(pid_in "$2/$1.starter")" || return 0
    # It need not come up first, as a database in the middle of being made has to.
    [ "$1" != rabbitmq ] || kill_rabbitmq "$2"
    return 1
}

one() {
    local verb=$1 service=$2 dir
    case " $SERVICES " in *" $service "*) ;; *) usage ;; esac
    dir=$(realpath "$3")
    [ -d "$dir/$service" ] || fail "$dir has no $service that was started here"
    case $verb in
        wipe) kill_"$service" "$dir"; rm -rf "${dir:?}/$service"; starting "$service" "$dir" ;;
        start) starting "$service" "$dir" ;;
        *) "${verb}_$service" "$dir" ;;
    esac
}

# Job control gives the command a process group of its own, so that its whole tree can be ended.
run() {
    local child status=0
    # Not a local: the trap needs it after the function's end.
    dir=$(mktemp -d "${TMPDIR:-/tmp}/fairhook-services.XXXXXX")
    trap 'down "$dir"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    provide "$TOOLS"
    up --for $$ "$dir"
    . "$dir/env"
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    echo "$child" > "$dir/command"
    trap 'end_command "$dir"; down "$dir"' EXIT
    wait "$child" || status=$?
    return "$status"
}

# Ends everything once the process it was started for is gone, however that ended.
guard() {
    local pid=$1 dir=$2
    while alive "$pid" && [ -e "$dir/secret" ]; do sleep 0.5; done
    if [ -e "$dir/secret" ]; then
        end_command "$dir"
        down "$dir"
    fi
}

end_command() { if [ -s "$1/command" ]; then kill -TERM -- "-$(cat "$1/command")" 2>/dev/null || true; fi; }

# --- what is there, and what is missing ---

to_start() {
    [ -n "${TEST_POSTGRES_URL:-}" ] || echo postgres
    [ -n "${TEST_REDIS_URL:-}" ] || echo redis
    if [ -z "${TEST_AMQP_URL:-}" ]; then
        echo rabbitmq
    elif [ -z "${TEST_AMQP_ADMIN:-}" ]; then
        fail "TEST_AMQP_URL is set, but not TEST_AMQP_ADMIN: the management URL (http://user:password@host:port) of that broker."
    fi
}

has() {
    case $1 in
        postgres) [ -x "$(postgres_bin)/initdb" ] ;;
        rabbitmq) [ -x "$RABBIT_BIN/rabbitmq-server" ] && command -v epmd >/dev/null ;;
        redis) command -v redis-server >/dev/null ;;
        venv) python3 -c "import ensurepip" 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

provide() {
    local service missing=()
    for service in $1; do
        has "$service" && continue
        case $service in
            postgres) missing+=(postgresql) ;;
            promtool) missing+=(prometheus) ;;
            rabbitmq|redis) missing+=("$service-server") ;;
            node) missing+=(nodejs) ;;
            venv) missing+=(python3-venv) ;;
            *) missing+=("$service") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
        || fail "missing: ${missing[*]} (Debian's names); install them, or set TEST_POSTGRES_URL, TEST_AMQP_URL with TEST_AMQP_ADMIN, and TEST_REDIS_URL for services of your own."
    install_packages "${missing[@]}" >&2 || fail "could not install ${missing[*]}."
    for service in $1; do has "$service" || fail "$service is installed, and yet not found."; done
}

# The packages would start instances of their own, which nobody asked for: Debian's policy hook says no meanwhile.
install_packages() {
    local policy=/usr/sbin/policy-rc.d status=0
    echo "installing $*"
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"; fi
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@"; } || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    return "$status"
}

# Six in a row, below the range that the kernel hands out to outgoing connections: a restart must find them free again.
free_ports() {
    local base port
    for _ in $(seq 100); do
        base=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
        for port in $(seq "$base" $((base + 5))); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
        done
        echo "$base"
        return
    done
    fail "found no six free ports in a row."
}

port() { echo $(($(cat "$1/ports") + $2)); }

settings_of_tests() {
    local dir=$1 own=" ${2//$'\n'/ } " secret
    secret=$(cat "$dir/secret")
    case $own in *" postgres "*) TEST_POSTGRES_URL=postgres://postgres:$secret@127.0.0.1:$(port "$dir" 0)/postgres ;; esac
    case $own in *" redis "*) TEST_REDIS_URL=redis://default:$secret@127.0.0.1:$(port "$dir" 1)/ ;; esac
    case $own in *" rabbitmq "*)
        TEST_AMQP_URL=amqp://fairhook:$secret@127.0.0.1:$(port "$dir" 2)/%2f
        TEST_AMQP_ADMIN=http://fairhook:$secret@127.0.0.1:$(port "$dir" 3) ;;
    esac
    printf 'export %s=%q\n' TEST_POSTGRES_URL "$TEST_POSTGRES_URL" TEST_AMQP_URL "$TEST_AMQP_URL" \
        TEST_AMQP_ADMIN "$TEST_AMQP_ADMIN" TEST_REDIS_URL "$TEST_REDIS_URL" FAIRHOOK_SERVICES "$dir"
}

settings() {
    local dir; dir=$(realpath "$1")
    . "$dir/env"
    cat <<END
# PostgreSQL, RabbitMQ and Redis are up; RabbitMQ's management UI is at ${TEST_AMQP_ADMIN/\/\/*@///} (fairhook, $(cat "$dir/secret"))
export FAIRHOOK_STORE_URL='$TEST_POSTGRES_URL'
export FAIRHOOK_QUEUE_URL='$TEST_AMQP_URL'
export FAIRHOOK_REDIS_URL='$TEST_REDIS_URL'
export FAIRHOOK_OPERATOR_KEY='$(cat "$dir/secret")'
END
}

# --- processes ---

alive() { [ -n "$1" ] && [ -d "/proc/$1" ] && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }

pid_in() { if [ -s "$1" ]; then head -n 1 "$1"; fi; }

# end SIGNAL PIDFILE: sends it and waits until the process is gone.
end() {
    local pid; pid=$(pid_in "$2")
    alive "$pid" || return 0
    kill "-$1" "$pid" 2>/dev/null || true
    until_within "$STOP_SECONDS" gone "$pid" || fail "process $pid did not end within $STOP_SECONDS s"
}

gone() { ! alive "$1"; }

until_within() {
    local tries=$(($1 * 20)); shift
    for _ in $(seq "$tries"); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}

# --- PostgreSQL: durable as in production, and wide enough for a test suite in parallel ---

postgres_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [ -x "$newest/initdb" ]; then echo "$newest"; else dirname "$(command -v initdb || echo /nowhere/initdb)"; fi
}

# The server refuses to run as root.
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

start_postgres() {
    local dir=$1/postgres bin data=$1/postgres/data log=$1/postgres/log
    bin=$(postgres_bin)
    if [ ! -e "$data/PG_VERSION" ]; then
        mkdir -p "$dir"
        install -m 600 "$1/secret" "$dir/password"
        [ "$(id -u)" != 0 ] || chown -R postgres: "$dir"
        (cd / && as_postgres "$bin/initdb" -D "$data" -U postgres -A scram-sha-256 --pwfile "$dir/password" -E UTF8 --locale C -N) \
            > "$1/initdb.log" 2>&1 || { cat "$1/initdb.log" >&2; fail "PostgreSQL's data cannot be made"; }
        cat >> "$data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $(port "$1" 0)
unix_socket_directories = '$dir'
max_connections = 300
max_locks_per_transaction = 256
fsync = on
synchronous_commit = on
timezone = 'UTC'
END
    fi
    # A killed server's last children hold its memory for a moment; it is started again once they are gone.
    for _ in 1 2 3; do
        (cd / && as_postgres "$bin/pg_ctl" -D "$data" -l "$log" -t "$START_SECONDS" -w -s start) >/dev/null 2>&1 && return 0
        sleep 1
    done
    tail -n 20 "$log" >&2
    fail "PostgreSQL does not start"
}

stop_postgres() { end INT "$1/postgres/data/postmaster.pid"; }

kill_postgres() {
    local pid; pid=$(pid_in "$1/postgres/data/postmaster.pid")
    alive "$pid" || return 0
    local children; children=$(cat /proc/"$pid"/task/"$pid"/children 2>/dev/null || true)
    end KILL "$1/postgres/data/postmaster.pid"
    for pid in $children; do until_within "$STOP_SECONDS" gone "$pid" || fail "process $pid did not end"; done
    rm -f "$1/postgres/data/postmaster.pid"
}

# --- Redis: nothing is kept, as in production it need not be ---

start_redis() {
    local dir=$1/redis
    mkdir -p "$dir"
    (umask 077; cat > "$dir/redis.conf" <<END
bind 127.0.0.1
port $(port "$1" 1)
requirepass $(cat "$1/secret")
dir $dir
save ""
appendonly no
daemonize yes
pidfile $dir/pid
logfile $dir/log
END
    )
    redis-server "$dir/redis.conf" >&2 || fail "Redis does not start"
    until_within "$START_SECONDS" grep -qs 'Ready to accept connections' "$dir/log" \
        || { tail -n 20 "$dir/log" >&2; fail "Redis does not start"; }
}

stop_redis() { end TERM "$1/redis/pid"; rm -f "$1/redis/log"; }
kill_redis() { end KILL "$1/redis/pid"; rm -f "$1/redis/pid" "$1/redis/log"; }

# --- RabbitMQ: Debian's scripts with every path and port of our own ---

# The wrapper of the package changes the user; the scripts behind it run as whoever calls them.
rabbit_environment() {
    local dir=$1/rabbitmq
    export HOME=$dir/home LANG=C.UTF-8
    # Empty, so that the machine's own settings are not read.
    export RABBITMQ_CONF_ENV_FILE=$dir/environment
    export RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf
    export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins RABBITMQ_FEATURE_FLAGS_FILE=$dir/feature_flags
    export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log RABBITMQ_SCHEMA_DIR=$dir/schema
    export RABBITMQ_GENERATED_CONFIG_DIR=$dir/generated RABBITMQ_PID_FILE=$dir/pid
    RABBITMQ_NODENAME=fairhook$(port "$1" 2)@localhost
    RABBITMQ_NODE_PORT=$(port "$1" 2)
    RABBITMQ_DIST_PORT=$(port "$1" 4)
    ERL_EPMD_PORT=$(port "$1" 5)
    export RABBITMQ_NODENAME RABBITMQ_NODE_PORT RABBITMQ_DIST_PORT ERL_EPMD_PORT
    export RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 ERL_EPMD_ADDRESS=127.0.0.1
    # Schedulers that spin while they wait, and are bound to cores, take them from the tests.
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none'
    export RABBITMQ_SCHEDULER_BIND_TYPE=u
}

start_rabbitmq() {
    local dir=$1/rabbitmq
    mkdir -p "$dir"/{home,data,log,schema,generated}
    rabbit_environment "$1"
    : > "$RABBITMQ_CONF_ENV_FILE"
    rm -f "$RABBITMQ_PID_FILE" "$dir/log/$RABBITMQ_NODENAME.log"
    if [ ! -e "$HOME/.erlang.cookie" ]; then
        install -m 400 "$1/secret" "$HOME/.erlang.cookie"
    fi
    echo '[rabbitmq_management].' > "$RABBITMQ_ENABLED_PLUGINS_FILE"
    (umask 077; cat > "$RABBITMQ_ADVANCED_CONFIG_FILE" <<END
[{rabbit, [{tcp_listeners, [{"127.0.0.1", $RABBITMQ_NODE_PORT}]},
           {default_user, <<"fairhook">>}, {default_pass, <<"$(cat "$1/secret")">>},
           {disk_free_limit, 100000000},
           {log, [{console, [{enabled, false}]}, {file, [{file, "$RABBITMQ_NODENAME.log"}, {level, info}]}]}]},
 {rabbitmq_management, [{tcp_config, [{ip, "127.0.0.1"}, {port, $(port "$1" 3)}]}]}].
END
    )
    # Started here, so that its process id is known: the server would start one that outlives it.
    if ! alive "$(pid_in "$dir/epmd.pid")"; then
        setsid epmd -port "$ERL_EPMD_PORT" -address "$ERL_EPMD_ADDRESS" </dev/null >"$dir/log/epmd" 2>&1 &
        echo $! > "$dir/epmd.pid"
    fi
    # A killed one leaves no dump behind wherever it was started.
    export ERL_CRASH_DUMP_SECONDS=0
    setsid "$RABBIT_BIN/rabbitmq-server" </dev/null >"$dir/log/stdout" 2>"$dir/log/stderr" &
    echo $! > "$dir/session.pid"
    until_within "$START_SECONDS" rabbit_answers "$!" "$dir/log/$RABBITMQ_NODENAME.log" \
        && grep -qs 'Server startup complete' "$dir/log/$RABBITMQ_NODENAME.log" && return 0
    tail -n 20 "$dir"/log/* >&2
    fail "RabbitMQ does not start"
}

# True as well once there is nothing left to wait for.
rabbit_answers() { ! alive "$1" || grep -qs 'Server startup complete' "$2"; }

# The script that was started has the server as its child, in a session of its own.
stop_rabbitmq() { end TERM "$1/rabbitmq/pid"; end TERM "$1/rabbitmq/session.pid"; }

kill_rabbitmq() {
    local dir=$1/rabbitmq session
    session=$(pid_in "$dir/session.pid")
    if alive "$session"; then kill -KILL -- "-$session" 2>/dev/null || true; fi
    end KILL "$dir/pid"
    end KILL "$dir/session.pid"
    end TERM "$dir/epmd.pid"
    rm -f "$dir"/{,epmd.,session.}pid
}

main "$@"
