"""`bcl demo`: the main job told on real parts; it ends well only if all of it happened."""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from cli import stage
from cli.asking import print_answer
from cli.checkout import ROOT
from cli.membership import VKEY_FILE, read_vkey
from cli.opening import SANDBOX_ORIGIN, prepare_sandbox
from config.settings import KEYS_FOLDER, read_environment
from ledger.errors import InvalidInput
from ledger.identity.identifier import Binding, Bucket, Kind
from ledger.incident.taxonomy import Conduct
from ledger_client.question import render_question

if TYPE_CHECKING:
    from cli.stage import Shop
    from ledger_client.client import Client, Sent

_PHONE = stage.claim(Kind.PHONE, "+8613800000001", Binding.OTP)
_DEVICE = stage.claim(Kind.DEVICE, "device 7f3a", Binding.OBSERVED)
_ADDRESS = stage.claim(Kind.ADDR, "8 Lotus Lane, room 301", Binding.NONE, Bucket.FEW)
_BUYER = (_PHONE, _DEVICE, _ADDRESS)
_FLATMATE = (stage.claim(Kind.PHONE, "+8613800000002", Binding.OTP), _ADDRESS)
_SAME_PERSON_POINTS = range(360, 381)
_FLATMATE_POINTS_MAX = 60
# All that a telling leaves in its folder.
_WRITTEN = {
    KEYS_FOLDER,
    VKEY_FILE,
    *(f"ledger.sqlite{suffix}" for suffix in ("", "-wal", "-shm", ".lock")),
    *("shop-a.jwk", "shop-b.jwk", "question.json", "server.log"),
    *("report.jwt", "receipt.tlog-proof", "status.jwt"),
}


@click.command()
@click.pass_obj
def demo(folder: Path) -> None:
    """Tell the main job on real parts: report, ask, verify, tamper.

    Makes its sandbox anew in FOLDER/demo and exits 0 only if everything that it tells happened.
    """
    Story(folder / "demo").tell()


class Story:
    """The demonstration: its folder, its console and its two shops."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._console = Console(highlight=False, soft_wrap=True)
        self._number = 0

    def tell(self) -> None:
        """Tell the whole story. *Raises*: ClickException where a part of it isn't true."""
        self._clear()
        self._say("A sandbox ledger, with keys of its own and no real people")
        prepare_sandbox(self._folder)
        shop_a = stage.enrol_shop(self._folder, "shop-a")
        shop_b = stage.enrol_shop(self._folder, "shop-b")
        vkey = read_vkey(self._folder)
        self._note(f"{SANDBOX_ORIGIN} in {self._folder}/, two platforms enrolled with fresh keys")
        with stage.run_server(self._folder, self._console) as url:
            self._note(f"the real server answers at {url}")
            with shop_a.connect(url, vkey) as at_a, shop_b.connect(url, vkey) as at_b:
                sent = self._tell_buyer(shop_a, at_a, shop_b, at_b)
                self._fetch_proof(at_a, sent)
        self._verify_offline(vkey)
        self._tamper()
        self._close()

    # --- The parts ----------------------------------------------------------------------------

    def _clear(self) -> None:
        """Remove the last telling. *Raises*: InvalidInput where that could harm anybody else."""
        if any(name.startswith("BCL_") for name in read_environment()):
            raise InvalidInput("The demonstration has a ledger of its own: unset every BCL_ name.")
        if not self._folder.exists() and not self._folder.is_symlink():
            return
        held = {one.name for one in self._folder.iterdir()}
        if self._folder.is_symlink() or held - _WRITTEN:
            raise InvalidInput(f"{self._folder} is there already and isn't the demonstration's.")
        with suppress(FileNotFoundError), (self._folder / VKEY_FILE).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InvalidInput(f"A server is at work in {self._folder}: end it.") from error
        shutil.rmtree(self._folder)

    def _tell_buyer(self, shop_a: Shop, at_a: Client, shop_b: Shop, at_b: Client) -> Sent:
        self._say("Shop B asks about a buyer who wants a refund and to keep the goods")
        first = at_b.assess(shop_b.question("acct_91", _BUYER, "order-1001"))
        self._show(first)
        self._expect(first, score=range(1), basis="no_record", action="grant")

        self._say("Shop A reports: this buyer's damage photo was AI-forged, a person confirmed it")
        sent = at_a.report(shop_a.report("buyer-5", _BUYER, 1, Conduct.EVIDENCE_FORGED_AI))
        self._show_incident(at_a, sent)

        self._say("Shop B asks again: its own account, same verified phone, same device")
        question = shop_b.question("acct_91", _BUYER, "order-1002")
        second = at_b.assess(question)
        self._show(second)
        self._expect(
            second, score=_SAME_PERSON_POINTS, basis="same_person", action="require_live_evidence"
        )
        self._check(
            sum(reason["points"] for reason in second["reasons"]) == second["score"],
            "the points of the reasons add up to the score",
        )
        body = json.dumps(render_question(question), indent=1)
        (self._folder / "question.json").write_text(body, "utf-8")

        self._say("Shop A reports a second one; shop B asks once more")
        at_a.report(shop_a.report("buyer-5", _BUYER, 2, Conduct.EVIDENCE_FORGED_EDIT))
        third = at_b.assess(shop_b.question("acct_91", _BUYER, "order-1003"))
        self._show(third)
        self._expect(third, score=range(460, 481), basis="same_person", action="require_return")

        self._say("The flatmate, who shares nothing but the address, claims too")
        flatmate = at_b.assess(shop_b.question("acct_17", _FLATMATE, "order-1004"))
        self._show(flatmate)
        self._expect(
            flatmate, score=range(1, _FLATMATE_POINTS_MAX), basis="association", action="grant"
        )
        self._check(flatmate["level"] == "LOW", "the flatmate is LOW")
        return sent

    def _show_incident(self, at_a: Client, sent: Sent) -> None:
        incident = at_a.fetch_incident(sent.incident_id)
        self._check(incident["state"] == "active", "the report counts")
        self._note(
            f"{sent.incident_id} is {incident['state']}, entry {incident['log_index']} of the log, "
            "acknowledged under the log's key"
        )

    def _fetch_proof(self, at_a: Client, sent: Sent) -> None:
        self._say("Shop A keeps its report, a receipt and a signed status; the server stops")
        for name, text in (
            ("report.jwt", sent.token),
            ("receipt.tlog-proof", at_a.fetch_receipt(sent.incident_id)),
            ("status.jwt", at_a.fetch_status(sent.incident_id)),
        ):
            (self._folder / name).write_text(text, "utf-8")

    def _verify_offline(self, vkey: str) -> None:
        verified = stage.run_bcl(
            self._folder,
            *("receipt", "verify", str(self._folder / "receipt.tlog-proof"), "--vkey", vkey),
            *("--event", str(self._folder / "report.jwt")),
            *("--status", str(self._folder / "status.jwt"), "--json"),
        )
        self._check(verified.returncode == 0, "the receipt verifies offline")
        proved = json.loads(verified.stdout)
        self._check(proved["opened"] and proved["standing"] == "active", "it is this report's")
        self._index = int(proved["index"])
        self._note(
            f"verified offline: this report is entry {proved['index']} under the signed root of "
            f"{proved['tree_size']} entries, standing {proved['standing']}"
        )

    def _tamper(self) -> None:
        self._say("An intruder flips one bit of that entry in the database file")
        stage.flip_bit(self._folder / "ledger.sqlite", self._index)
        damaged = stage.run_bcl(self._folder, "log", "audit")
        named = f"entry {self._index}:" in damaged.stdout
        self._check(damaged.returncode == 1 and named, "the audit names the entry")
        self._note("[bold]$ bcl log audit[/]")
        for line in damaged.stdout.splitlines():
            self._note(f"[red]{line}[/]")
        stage.flip_bit(self._folder / "ledger.sqlite", self._index)
        mended = stage.run_bcl(self._folder, "log", "audit")
        self._check(mended.returncode == 0, "with the bit back in place the audit is clean")
        self._note(f"the bit is put back: {mended.stdout.strip()}")

    def _close(self) -> None:
        own = "./bcl" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "bcl"))
        bcl = f"{own} --folder {shlex.quote(str(self._folder))}"
        self._console.print("\n[bold green]Everything above happened.[/] Keep a server running:")
        self._console.print(f"  {bcl} serve", markup=False)
        self._console.print("and ask it, in another terminal:")
        self._console.print(
            "  curl -s http://127.0.0.1:8080/v1/risk-assessments "
            "-H 'Content-Type: application/json' \\\n"
            f'    -H "Authorization: Bearer $({bcl} token issue --id https://shop-b.example '
            f'--key {shlex.quote(str(self._folder / "shop-b.jwk"))})" \\\n'
            f"    -d @{shlex.quote(str(self._folder / 'question.json'))}",
            markup=False,
        )

    # --- How it is told -----------------------------------------------------------------------

    def _say(self, sentence: str) -> None:
        self._number += 1
        self._console.print(f"\n[bold cyan]{self._number}[/]  [bold]{sentence}[/]")

    def _note(self, text: str) -> None:
        self._console.print(f"   {text}")

    def _show(self, answer: dict[str, Any]) -> None:
        print_answer(self._console, answer, indent=3)

    def _expect(self, answer: dict[str, Any], *, score: range, basis: str, action: str) -> None:
        self._check(answer["score"] in score, f"the score lies in {score.start}…{score.stop - 1}")
        self._check(answer["basis"] == basis, f"the basis is {basis}")
        self._check(answer["advice"]["action"] == action, f"the advice is {action}")

    def _check(self, holds: object, sentence: str) -> None:
        if not holds:
            raise click.ClickException(f"The story isn't true: it was expected that {sentence}.")
