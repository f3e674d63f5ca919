"""Whole tables: splits, universe, watchlists, plan; daily bars are inherited from ``bar_months``.

What belongs here: which file a table is, and the order in which files change, so that a reader
sees the old table or the new one and never a mixture.  What does not: their bytes
(``files``), the record of a plan (``plan_record``), ticker-sessions (``lake.segment_store``).

A table that fails its checks is written beside the published one, as a candidate.

How a plan is published.  ``plan.json`` names the hash of ``plan.parquet``, and two files cannot
change at once, so the record changes first: (1) ``plan.json`` keeps the record of the plan in
force and gains, as ``pending``, that of the next one; (2) ``plan.parquet`` is replaced; (3)
``plan.json`` is replaced by the new record alone.  Each step is on the disk before the next
begins.  A reader takes the record whose hash is that of the rows it finds, so it gets the old pair
or the new one whenever it reads, and whenever the writer died; any other hash is an error.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, convert_fields, name_fault
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.errors import DataError, LakeError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.paths.names import MONTH_PREFIX
from smallcaps_assets.lake.tables.bar_months import BarMonthStore
from smallcaps_assets.lake.tables.files import NO_FACTS, decode_facts, decode_table, encode_table
from smallcaps_assets.lake.tables.plan_record import (
    PlanRecord,
    PlanText,
    check_record,
    encode_plan_text,
    frame_not_yet_available,
    hash_plan,
    parse_plan_text,
)
from smallcaps_assets.lake.tables.universe_record import UniverseRecord, parse_record
from smallcaps_assets.schemas import (
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SPLITS,
    UNIVERSE,
    UNIVERSE_PLAN,
    WATCHLIST,
    Table,
)


class TableStore(BarMonthStore):
    """The whole tables below one data folder, daily bars among them.

    A damaged file is a ``DataError``; rows that break their contract are one too, ``SchemaError``.
    """

    def sweep(self) -> list[Path]:
        """Remove the temporary files that dead processes left among the tables; return them.

        Raises:
            StorageError: The disk refuses.
        """
        bars = self.layout.daily_bars_dir
        months = [bars / entry.name for entry in self.fs.list_folder(bars, MONTH_PREFIX)]
        return self.fs.sweep_temporary([*self.layout.temporary_dirs(), *months])

    def write_table(
        self,
        table: Table,
        rows: pl.DataFrame,
        *,
        is_published: bool,
        facts: Mapping[str, object] = NO_FACTS,
    ) -> Path:
        """Write a table, in place of the published one or, unpublished, beside it.

        Args:
            table: ``WATCHLIST``, ``PILOT_WATCHLIST``, ``SPLITS``, ``UNIVERSE`` or
                ``UNIVERSE_PLAN``.
            rows: Its rows; they are stored in the order of the key.
            is_published: It passed its checks.
            facts: What is known of them and they do not tell; anything JSON can hold.

        Returns:
            The file written; once published, an older candidate is removed.

        Raises:
            StorageError: The disk refuses; the published table is unchanged.
        """
        published = self._path(table)
        candidate = self._candidate(published)
        path = published if is_published else candidate
        self._publish(path, encode_table(table, rows.sort(table.key), facts))
        if is_published:
            self.fs.remove(candidate)
        return path

    def read_table(self, table: Table) -> pl.DataFrame:
        """Read a published table, sorted by its key.

        Raises:
            MissingPartitionError: None is published.
        """
        return self._read(table, self._path(table))

    def read_splits(self) -> pl.DataFrame:
        """Read the splits on record; no rows where none were ever stored."""
        try:
            return self.read_table(SPLITS)
        except MissingPartitionError:
            return SPLITS.empty()

    def read_universe(self) -> tuple[pl.DataFrame, dict[str, object]] | None:
        """Read the universe and what is known of it; ``None`` where none was ever published."""
        path = self.layout.universe_file
        try:
            content = self.fs.read(path)
        except MissingPartitionError:
            return None
        where = str(path)
        return (
            decode_table(UNIVERSE, content, where=where),
            decode_facts(UNIVERSE, content, where=where),
        )

    def write_plan(
        self,
        plan: pl.DataFrame,
        record: PlanRecord,
        not_yet_available: pl.DataFrame | None = None,
        *,
        is_published: bool,
    ) -> PlanRecord:
        """Write a plan and its record, in place of the published pair or as a candidate.

        Args:
            plan: ``schemas.EVENT_WINDOW_PLAN``.
            record: What is known of it.
            not_yet_available: Columns ``ticker`` and ``session_date`` of what is wanted, but can
                not be asked for yet; kept in the record.
            is_published: It passed its checks.

        Returns:
            The record as written.

        Raises:
            DataError: The record is that of another plan.
            StorageError: The disk refuses; a reader gets the old pair or the new one.
        """
        check_record(plan, record)
        if not_yet_available is not None:
            waiting = not_yet_available.select(key_expression()).to_series()
            record = msgspec.structs.replace(record, not_yet_available=tuple(waiting))
        facts = msgspec.to_builtins(record)
        content = encode_table(EVENT_WINDOW_PLAN, plan.sort(EVENT_WINDOW_PLAN.key), facts)
        if not is_published:
            self._publish(self.layout.plan_candidate_file, content)
            return record
        record_file = self.layout.plan_record_file
        if (current := self._find_record()) is not None:
            self._publish(record_file, encode_plan_text(PlanText(current, pending=record)))
        self._publish(self.layout.plan_file, content)
        self._publish(record_file, encode_plan_text(PlanText(record)))
        self.fs.remove(self.layout.plan_candidate_file)
        return record

    def read_plan(self) -> tuple[PlanRecord, pl.DataFrame]:
        """Read the published plan and its record, each that of the other.

        Raises:
            MissingPartitionError: No plan is published.
            LedgerMismatchError: Plan and record differ.
            DataError: The file of the plan is damaged.
        """
        # A plan published between the reading of the two files is met whole the second time.
        found = self._read_pair() or self._read_pair()
        if found is None:
            raise LedgerMismatchError(
                f"{self.layout.plan_file} is not the plan that {self.layout.plan_record_file.name} "
                "names: one of them was edited or restored; plan again with `smallcaps plan`"
            )
        return found

    def read_plan_candidate(self) -> tuple[PlanRecord, pl.DataFrame]:
        """Read the plan that was refused last, and its record.

        Raises:
            MissingPartitionError: There is none: the last plan was published.
        """
        path = self.layout.plan_candidate_file
        plan = self._read(EVENT_WINDOW_PLAN, path)
        facts = decode_facts(EVENT_WINDOW_PLAN, self.fs.read(path), where=str(path))
        try:
            return convert_fields(facts, PlanRecord), plan
        except DECODER_FAULTS as error:
            raise DataError(f"{path} holds no record of a plan ({name_fault(error)})") from error

    def read_not_yet_available(self) -> pl.DataFrame:
        """Read ``ticker`` and ``session_date`` of what is wanted, but not available yet.

        Raises:
            MissingPartitionError: No plan is published.
            LedgerMismatchError: Plan and record differ.
        """
        record, _ = self.read_plan()
        return frame_not_yet_available(record)

    def write_universe_plan(
        self, plan: pl.DataFrame, record: UniverseRecord, *, is_published: bool = True
    ) -> Path:
        """Write the plan of a universe with its record, as :meth:`write_table` does.

        Raises:
            StorageError: The disk refuses; the published plan is unchanged.
        """
        facts = msgspec.to_builtins(record)
        return self.write_table(UNIVERSE_PLAN, plan, is_published=is_published, facts=facts)

    def has_universe_plan(self) -> bool:
        """Say whether a universe is planned."""
        return self.fs.is_file(self.layout.universe_plan_file)

    def identify_universe_plan(self) -> str:
        """Identify the published plan of a universe, to see whether it is another one now.

        Raises:
            MissingPartitionError: No universe is planned.
        """
        content = self.fs.read(self.layout.universe_plan_file)
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def read_universe_plan(
        self, *, is_candidate: bool = False
    ) -> tuple[UniverseRecord, pl.DataFrame]:
        """Read the published plan of a universe with its record, or the one that was not published.

        Raises:
            MissingPartitionError: There is none.
            DataError: The file is damaged, or was not written by this program.
        """
        published = self.layout.universe_plan_file
        path = self._candidate(published) if is_candidate else published
        try:
            content = self.fs.read(path)
        except MissingPartitionError as error:
            raise MissingPartitionError(
                f"no universe is planned at {path}: run `smallcaps plan --universe`"
            ) from error
        return (
            parse_record(content, where=str(path)),
            decode_table(UNIVERSE_PLAN, content, where=str(path)),
        )

    def _read(self, table: Table, path: Path) -> pl.DataFrame:
        try:
            content = self.fs.read(path)
        except MissingPartitionError as error:
            raise MissingPartitionError(
                f"no {table.name} is stored at {path}: materialize {table.name}"
            ) from error
        return decode_table(table, content, where=str(path))

    def _read_pair(self) -> tuple[PlanRecord, pl.DataFrame] | None:
        try:
            content = self.fs.read(self.layout.plan_record_file)
        except MissingPartitionError as error:
            raise MissingPartitionError(
                f"no plan is published at {self.layout.plan_file}: run `smallcaps plan`, or "
                "materialize event_window_plan"
            ) from error
        text = parse_plan_text(content, where=str(self.layout.plan_record_file))
        plan = self._read(EVENT_WINDOW_PLAN, self.layout.plan_file)
        record = text.find(hash_plan(plan))
        return None if record is None else (record, plan)

    def _find_record(self) -> PlanRecord | None:
        """Find the record of the plan in force; ``None``: there is none worth keeping."""
        try:
            return self.read_plan()[0]
        except (DataError, LakeError):
            return None

    def _path(self, table: Table) -> Path:
        paths = {
            WATCHLIST.name: self.layout.watchlist_file,
            PILOT_WATCHLIST.name: self.layout.pilot_watchlist_file,
            SPLITS.name: self.layout.splits_file,
            UNIVERSE.name: self.layout.universe_file,
            EVENT_WINDOW_PLAN.name: self.layout.plan_file,
            UNIVERSE_PLAN.name: self.layout.universe_plan_file,
        }
        return paths[table.name]

    def _candidate(self, published: Path) -> Path:
        if published == self.layout.plan_file:
            return self.layout.plan_candidate_file
        return self.layout.candidate_file(published)

    def _publish(self, path: Path, content: bytes) -> None:
        self.fs.publish({path: content}, root=self.layout.data_dir)
