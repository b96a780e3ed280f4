"""A SLURM cluster of two nodes on this host: munge, slurmctld and two slurmd, all in one folder."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = socket.gethostname().partition(".")[0]
NODES = (HOST, f"{HOST}-b")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "sinfo", "scontrol", "squeue")

# The first node has the host's own name, which others of a job find rank 0 by.
# Tasks are not bound to cores, and `config_overrides` lets a node claim more cores than the host has.
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=300
KillWait=5
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 State=UNKNOWN
NodeName={host}-b NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 State=UNKNOWN
PartitionName=test Nodes={host},{host}-b Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here, or None."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client munge"
        return f"SLURM is not installed (no {', '.join(missing)}); as root: apt-get install {packages}"
    if os.geteuid() != 0:
        return "SLURM's daemons must be started by root"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Cluster:
    """A running cluster; `environment` makes SLURM's commands speak to it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, timeout: float = 240, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of SLURM, or one that calls them."""
        return subprocess.run(
            [str(part) for part in command],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def submit(self, *command: str | Path, **variables: str) -> str:
        """Run a command that submits a job, and return the job's number."""
        done = self.run(*command, **variables)
        if done.returncode:
            raise RuntimeError(f"{done.stderr}\n{self.logs()}")
        return done.stdout.strip()

    def ended(self, job: str) -> str:
        """Wait until a job has ended, and return what SLURM tells of it; ``sbatch --wait`` asks every 30 s only."""

        def shown() -> str:
            return self.run("scontrol", "show", "job", job).stdout

        going = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
        wait_until(lambda: not any(f"JobState={s}" in shown() for s in going), f"job {job} does not end", shown)
        return shown()

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        logs = sorted(self.folder.rglob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start the daemons, wait until both nodes are idle, and stop all of it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munge runs as a user of its own
    # Nothing of an allocation that this process may itself run in.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN", "SALLOC"))}
    cluster = Cluster(folder, environment | {"SLURM_CONF": str(folder / "slurm.conf")})
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _write_config(folder)
        stack.callback(_kill_job_steps, cluster)
        stack.enter_context(_daemon(cluster, "munged", *_munge_options(folder), user="munge"))
        wait_until((folder / "munge" / "socket").exists, "munge has no socket", cluster.logs)
        stack.enter_context(_daemon(cluster, "slurmctld", "-D", "-c"))
        for node in NODES:
            stack.enter_context(_daemon(cluster, "slurmd", "-D", "-N", node))
        wait_until(lambda: _idle_nodes(cluster) == 2, "the nodes do not become idle", cluster.logs)
        yield cluster


def _write_config(folder: Path) -> None:
    (folder / "state").mkdir()
    for node in NODES:
        (folder / f"spool-{node}").mkdir()
    owner = pwd.getpwnam("munge")
    munge = folder / "munge"
    munge.mkdir(mode=0o755)
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o600)
    for path in (munge / "key", munge):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    config = CONFIG.format(host=HOST, folder=folder, ports=_free_ports(3))
    (folder / "slurm.conf").write_text(config)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _munge_options(folder: Path) -> list[str]:
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "munged.log", "seed-file": "seed"}
    return ["--foreground", *(f"--{option}={folder / 'munge' / name}" for option, name in files.items())]


@contextmanager
def _daemon(cluster: Cluster, name: str, *options: str, user: str | None = None) -> Iterator[None]:
    program = _program(name)
    assert program is not None
    with (cluster.folder / f"{name}-{len(list(cluster.folder.glob('*.out.log')))}.out.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *options], env=cluster.environment, stdout=log, stderr=log, user=user, group=user, cwd="/"
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle_nodes(cluster: Cluster) -> int:
    return len(cluster.run("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").stdout.split())


def _kill_job_steps(cluster: Cluster) -> None:
    """End what the daemons left: slurmstepd processes of this cluster, known by its folder."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            name, environ = (proc / "comm").read_text().strip(), (proc / "environ").read_bytes()
        except OSError:
            continue
        if name == "slurmstepd" and str(cluster.folder).encode() in environ:
            os.kill(int(proc.name), 9)


def wait_until(condition: Callable[[], bool], problem: str, logs: Callable[[], str]) -> None:
    """Return once `condition` holds; raise after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{problem}:\n{logs()}")
        time.sleep(0.1)
