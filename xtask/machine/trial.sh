#!/usr/bin/env bash
# What happens to a machine with Slipway in its life. Runs inside of it at each boot (xtask/src/machine.rs); a line for each step, in the form
# of the Test Anything Protocol. The first step that fails ends it.
set -uo pipefail
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NO_COLOR=1
STATE=/var/lib/trial
APP=/root/hello
mkdir -p "$STATE"
exec >/dev/ttyS0 2>&1

say() { printf '# %s\n' "$*"; }
end() { printf '1..%s\n' "$(cat "$STATE/count" 2>/dev/null || echo 0)"; sync; sleep 3; systemctl poweroff --force --force; exit; } # the console takes its time
counted() { echo $(($(cat "$STATE/count" 2>/dev/null || echo 0) + 1)) >"$STATE/count"; }

# check WHAT COMMAND…: what it prints is shown when it fails.
check() {
  local what=$1 out; shift
  counted
  if out=$("$@" 2>&1); then echo "ok - $what"; return; fi
  echo "not ok - $what"
  printf '%s\n' "$out" | tail -n 40 | sed 's/^/# /'
  say "--- the server's log"; journalctl --namespace slipway -n 60 --no-pager -o cat | sed 's/^/# /'
  say "--- units"; systemctl --no-pager status slipway.service slipway-edge.socket 2>&1 | head -n 40 | sed 's/^/# /'
  say "--- history"; slipway events 2>&1 | tail -n 20 | sed 's/^/# /'
  say "--- processes"; ps axo pid,ppid,stat,wchan:24,args --cols 200 | grep -v '\]$' | sed 's/^/# /'
  say "--- cgroups"; find /sys/fs/cgroup -path '*slipway*' -name cgroup.procs | head -n 30 | sed 's/^/# /'
  end
}

# within SECONDS COMMAND…
within() {
  local until=$(($(date +%s) + $1)); shift
  until "$@"; do [ "$(date +%s)" -lt "$until" ] || { "$@"; echo "not within the time"; return 1; }; done
}

answer() { curl -s --max-time 60 -H 'Host: web-hello.localhost' http://127.0.0.1/; }
answers() { local found; found=$(answer); [ "$found" = "$1" ] || { echo "answered: $found"; return 1; }; }
server_pid() { systemctl show -p MainPID --value slipway.service; }
app_pid() { pgrep -f 'node.*server\.js' | head -n 1; }

# One request after another; whatever is not 200 is written down.
load() {
  local code
  while [ -e "$STATE/loading" ]; do
    code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 60 -H 'Host: web-hello.localhost' http://127.0.0.1/) || code="$code, curl ended with $?"
    echo "$code" >>"$STATE/answers"
  done
}
load_begins() { : >"$STATE/answers"; touch "$STATE/loading"; load & LOADING=$!; }
load_ends() { rm "$STATE/loading"; wait "$LOADING"; }
nothing_was_lost() { say "$(wc -l <"$STATE/answers") requests were answered"; [ -s "$STATE/answers" ] && ! grep -v '^200$' "$STATE/answers"; }

is_limited() {
  local cgroup; cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(app_pid)/cgroup")
  while [ "$cgroup" != /sys/fs/cgroup ]; do
    grep -q '^[0-9]' "$cgroup/memory.max" 2>/dev/null && grep -q '^[0-9]' "$cgroup/pids.max" && return 0
    cgroup=$(dirname "$cgroup")
  done
  echo "no limit of memory above the app"; return 1
}

is_another() { [ "$(server_pid)" != "$1" ] && [ "$(server_pid)" != 0 ]; }
is_same_app() { [ "$(app_pid)" = "$1" ] || { echo "was $1, is $(app_pid)"; return 1; }; }

# From another machine, which is a network namespace here: the port of the apps is open, another one is not.
has_a_firewall() {
  ip netns add outside && ip link add inside type veth peer name eth0 netns outside || return 1
  ip addr add 192.0.2.1/24 dev inside && ip link set inside up
  ip -n outside addr add 192.0.2.2/24 dev eth0 && ip -n outside link set eth0 up
  perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => 9999, Listen => 5, ReuseAddr => 1) or die; while (my $c = $s->accept) { print $c "reached\n"; close $c }' &
  local listener=$! apps other
  within 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999' || return 1
  apps=$(ip netns exec outside curl -s --max-time 60 -H 'Host: web-hello.localhost' http://192.0.2.1/)
  other=$(ip netns exec outside timeout 5 bash -c 'cat </dev/tcp/192.0.2.1/9999' 2>/dev/null)
  kill "$listener"; ip netns del outside; ip link del inside 2>/dev/null
  [ "$apps" = one ] || { echo "an app answered: $apps"; return 1; }
  [ -z "$other" ] || { echo "port 9999 can be reached"; return 1; }
}

nothing_is_left() {
  local left
  left=$(
    pgrep -af 'slipway|node server'
    ls -d /var/log/journal/*.slipway /etc/slipway /usr/local/lib/slipway /usr/local/bin/slipway /etc/systemd/system/slipway* /var/lib/slipway 2>/dev/null
    nft list tables | grep -i slipway
    ip netns list; ip -o link | grep -v ': lo:'
    find /sys/fs/cgroup -type d -name '*slipway*' | grep -v journal
    grep slipway /proc/self/mounts
    losetup -l -n
  )
  [ -z "$left" ] || { echo "$left"; return 1; }
}

first_boot() {
  check "cgroups are of version 2" test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs
  check "what an installation would do is said" /payload/bin/slipway install --domain localhost --dry-run
  check "and not done" test ! -e /etc/slipway
  check "a backup of another machine is restored" /payload/bin/slipway restore /payload/hello.backup --data /var/lib/slipway
  check "installed" /payload/bin/slipway install --domain localhost
  check "the units are active" systemctl is-active slipway.service slipway-edge.socket slipway-firewall.service
  check "the firewall is in force" nft list table inet slipway_firewall
  check "nothing is missing" slipway doctor
  check "the app of the backup answers" within 300 answers one
  check "its memory and processes are limited" is_limited
  check "others reach the apps, and no other port" has_a_firewall
  mkdir -p "$APP" && cp /payload/app/* "$APP" && cd "$APP" || end
  check "another version is deployed" slipway up
  check "and answers" within 60 answers one
  local app server
  app=$(app_pid)

  load_begins
  server=$(server_pid)
  check "the server is restarted under load" systemctl restart slipway.service
  check "by another process" is_another "$server"
  server=$(server_pid)
  check "another version of the program is installed under load" slipway upgrade /payload/next/slipway
  check "in the same process" test "$(server_pid)" = "$server"
  check "which systemd takes for ready" systemctl is-active slipway.service
  check "requests are answered after it" within 60 answers one
  load_ends
  check "no request was lost" nothing_was_lost
  check "the app never noticed" is_same_app "$app"

  server=$(server_pid)
  kill -9 "$server"
  check "who connects to a server that was killed is answered by the next one" answers one
  check "which systemd has started" within 60 is_another "$server"
  check "the app never noticed that either" is_same_app "$app"
  check "the history is there" slipway events
  reboot_to after_reboot systemctl reboot
}

after_reboot() {
  check "after a reboot the app answers" within 600 answers one
  check "and is live" bash -c 'cd /root/hello && slipway ps | grep live'
  reboot_to after_reset bash -c 'sync; echo b >/proc/sysrq-trigger'
}

after_reset() {
  check "after a reset without warning the app answers" within 600 answers one
  cd "$APP" || end
  sed -i 's/VERSION = "one"/VERSION = "two"/' server.js
  check "and the next version is deployed" slipway up
  check "and answers" within 60 answers two
  check "rolled back" slipway rollback
  check "and the former version answers" within 60 answers one
  cd / || end
  check "services are destroyed" slipway destroy --all --yes
  check "all is uninstalled" slipway uninstall --purge
  check "and nothing is left" within 60 nothing_is_left
  end
}

reboot_to() { echo "$1" >"$STATE/stage"; sync; shift; say "rebooting"; "$@"; exit; }

case $(cat "$STATE/stage" 2>/dev/null || echo first_boot) in
  first_boot) first_boot ;;
  after_reboot) after_reboot ;;
  after_reset) after_reset ;;
esac
