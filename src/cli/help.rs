//! What each command's --help, and its manual page, tell beyond its arguments.

pub(super) const AFTER_HELP: &str = "\
Without a command it does what `run` does: `proxymgr -c FILE`.

Exit codes:
  0   done, or asked to end
  64  a command line that can't be understood
  69  HAProxy is missing or too old
  78  proxymgr.yml is bad
  1   anything else; each command's --help tells its own";

pub(super) const AFTER_CHECK: &str = "\
Prints one line for each service: ok, refused or unanswered, and what is wrong below it. What HAProxy itself refuses is \
found with `haproxy -c`. Nothing is changed: no file is written and no port opened, so it can run beside `proxymgr run`. \
It waits for the registries for safety.startup_timeout at the most (10s unless set), and tells for which on stderr. It can't see ports that other \
programs hold.

Exit codes:
  0   all is good; server entries that are skipped and HAProxy's warnings are shown and do no harm
  1   a service or a value is refused or unanswered; `run` would start with the others
  69  HAProxy is missing or too old, or gave no verdict
  78  proxymgr.yml is bad, or HAProxy refuses its global or defaults lines

With --json one object, whose keys stay as they are:
  ok          true when the exit code is 0
  config      {file, errors: [{line, column, key, message}]}
  registries  {answered, problems: [text]}
  services    [{name, status: \"ok\"|\"refused\"|\"unanswered\", servers: number, problems: [text]}]
  values      {problems: [text]} of the values of a registry in lines
  haproxy     {version, accepted, messages: [text]}; null when it wasn't asked";

pub(super) const AFTER_RENDER: &str = "\
A dry run: it asks the registries for safety.startup_timeout at the most (10s unless set), and changes nothing. Services \
that and values that are refused are left out and told on stderr, one line each. Beyond values HAProxy doesn't check the text; `proxymgr check` does \
that, and `run` then leaves out what HAProxy refuses.

Exit codes:
  0   the text, or the difference, is on stdout; also when there is a difference, and when services or values are refused
  1   a registry did not answer, so that the text lacks what it holds
  69  HAProxy is missing or too old: its version decides what is written
  78  proxymgr.yml is bad";

pub(super) const AFTER_REPLACE: &str = "\
It waits until the running process is done, and tells what it waits for on stderr.

Exit codes:
  0   done
  1   refused, and everything goes on as before; or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are:
  done     true when the exit code is 0
  pid      the process, which stays the same; null when none answered
  before   {release}: the program that was asked; null when none answered
  now      {release}: the program that answers now; null when that is unknown
  error    {code, message}; null when done";

pub(super) const AFTER_STATUS: &str = "\
One line for each service, those in trouble first, with what is wrong below it; of one SERVICE each of its servers too. On a \
terminal no line is longer than it: a list is cut, what is asked for by name goes on in the next line. --watch shows no more \
than fits. Without colours where NO_COLOR is set.

Exit codes:
  0   told, whatever it is
  1   there is no such service, or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are; the README tells what they mean. With --watch one object a line.";

pub(super) const AFTER_DRAIN: &str = "\
The server is named as `proxymgr status SERVICE` shows it: its address, or its host name, and its port. It gets no new \
connections and keeps those that it has. It stays so over reloads, upgrades and restarts, also when it leaves its registry and comes \
back, until it is undrained.

Exit codes:
  0   done: HAProxy has taken it
  1   there is no such server, or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are:
  done     true when the exit code is 0
  service, server
  saved    whether it outlives ProxyMgr; false when state_dir can't be written, null when not done
  error    {code, message}; null when done";

pub(super) const AFTER_CONFIRM: &str = "\
When most servers of a service are missing in its registry they stay for safety.shrink_hold, and when all are they stay for good \
(safety.on_empty: keep). This says that it is true: they leave now.

Exit codes:
  0   done
  1   nothing is held for the service, there is no such service, or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are:
  done     true when the exit code is 0
  service
  servers  how many servers leave; null when not done
  error    {code, message}; null when done";

pub(super) const AFTER_EVENTS: &str = "\
One line for each change, oldest first: when it began (UTC), what it was (runtime: commands through HAProxy's socket; reload: a \
new process; failed, either of them; trouble and news, which are no changes), how long it took until HAProxy had it, the service, \
what changed, and in brackets what led to it. They are kept over reloads, upgrades and restarts of ProxyMgr, in state_dir; a crash loses those of the last 5 s. With SERVICE \
those that concern it, among them reloads of all services and changes of more services than are named.

Exit codes:
  0   told
  1   no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object a line, whose keys stay as they are; first holds at most some of total:
  number     counted from 1
  at         UTC, RFC 3339
  kind       \"runtime\", \"reload\" or \"notice\"
  result     \"done\" or \"failed\"; of a notice \"trouble\" or \"told\"
  services   {total, first: [name]}; none when it concerns all
  servers    {added, removed, changed}: how many, without a reload
  causes     {total, first: [{event, service, origin}]}; event: \"defined\", \"removed\", \"servers\", \"loss_lasted\", \"confirmed\", \
\"drained\", \"undrained\", \"includes\", \"values\", \"template\"
  reasons    {total, first: [text]} of a reload
  commands   {total, first: [text]}, those before a reload too
  waited_ms  from the first cause to the order; null without any
  took_ms    from the order to HAProxy's answer; null of a notice
  message    why it failed, or the notice; null without any";

pub(super) const AFTER_WHY: &str = "\
Times of what was taken and told are known since this program began; the last change is one of the last 1000 of `proxymgr events`.

Exit codes:
  0   told
  1   there is no such service or server, or no ProxyMgr answers
  78  proxymgr.yml does not even tell its runtime_dir

With --json one object, whose keys stay as they are:
  service      as in `status --json`, with all its servers
  server       one of them; null unless asked for
  last_reload  as in `status --json`";
