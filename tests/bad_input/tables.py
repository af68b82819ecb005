"""CSV tables, Parquet files and the split files of CoOp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.config.data import CoopSource, CsvSource, FolderSource, ParquetSource
from craft_ray.data.sources import load_dataset
from tests.bad_input.case import Attempt, Case
from tests.support.images import encoded, hugging_face_metadata, noise, write_parquet, write_tree

HEADER = "path,label,split\n"
TABLE = HEADER + "a.png,cat,train\nb.png,dog,train\na.png,cat,test\n"


def csv_file(content: str | bytes, **settings: Any) -> Callable[[Path], Attempt]:
    """A table beside the images a.png and b.png."""

    def prepare(folder: Path) -> Attempt:
        for name in ("a.png", "b.png"):
            (folder / name).write_bytes(encoded(noise()))
        (folder / "folder.png").mkdir()
        file = folder / "table.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return lambda: load_dataset(CsvSource(file=str(file), **settings))

    return prepare


def folder_as_table(folder: Path) -> Attempt:
    (folder / "table.csv").mkdir()
    return lambda: load_dataset(CsvSource(file=str(folder / "table.csv")))


def long_root(folder: Path) -> Attempt:
    return lambda: load_dataset(FolderSource(root="x" * 5000))


TABLES = [
    Case("empty", csv_file(""), r"table\.csv line 1: must have a column 'path', but has \[\]"),
    Case("only a header", csv_file(HEADER), r"table\.csv: must have at least one line after the"),
    Case("no label", csv_file("path,split\na.png,train"), r"must have a column 'label', but has"),
    Case("a column twice", csv_file("path,label,path\n"), r"columns must differ, but 'path' is"),
    Case("too few values", csv_file(TABLE + "a.png,cat"), r"line 5: must have 3 values, but has 2"),
    Case("no path", csv_file(TABLE + ",cat,test"), r"line 5: path must not be empty"),
    Case("unknown split", csv_file(TABLE + "a.png,cat,x"), r"line 5: split .*but got 'x'"),
    Case(
        "an open quote", csv_file(TABLE + '"a.png,cat,test'), r"table\.csv line 5: unexpected end"
    ),
    Case(
        "no UTF-8", csv_file(TABLE.encode() + b"\xe9"), r"table\.csv: must be a CSV file in UTF-8"
    ),
    Case("a folder", folder_as_table, r"table\.csv: must be a CSV file, but is a folder"),
    Case("no such image", csv_file(TABLE + "c.png,cat,test"), r"1 do not: \S*c\.png"),
    Case("a folder as image", csv_file(TABLE + "folder.png,cat,test"), r"1 do not: \S*folder\.png"),
    Case(
        "a null character in a path",
        csv_file(TABLE + "a\0.png,cat,test"),
        r"table\.csv.*(NUL|1 do not: \S*a\\x00\.png)",
    ),
    Case(
        "a number of too many digits",
        csv_file(HEADER + f"a.png,{'9' * 5000},train\nb.png,1,train\na.png,1,test"),
        r"table: class name .* must have at most 500 characters, but has 5000",
    ),
    Case(
        "too few images for a split",
        csv_file("path,label\na.png,cat\nb.png,dog"),
        r"class 'cat': at least 3 images are needed to split it into train, val, test, but got 1",
    ),
]


def parquet(**changes: Any) -> Callable[[Path], Attempt]:
    """Parquet files of `write_parquet`."""

    def prepare(folder: Path) -> Attempt:
        write_parquet(folder / "data", **changes)
        return lambda: load_dataset(ParquetSource(root=str(folder / "data")))

    return prepare


def parquet_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], Attempt]:
    """A damaged file."""

    def prepare(folder: Path) -> Attempt:
        path = write_parquet(folder) / "val.parquet"
        path.write_bytes(change(path.read_bytes()))
        return lambda: load_dataset(ParquetSource(root=str(folder)))

    return prepare


def parquet_table(table: pa.Table) -> Callable[[Path], Attempt]:
    """A table of one's own, with class names."""

    def prepare(folder: Path) -> Attempt:
        whole = table.replace_schema_metadata(hugging_face_metadata(["cat", "dog"]))
        pq.write_table(whole, folder / "train.parquet")
        return lambda: load_dataset(ParquetSource(root=str(folder)))

    return prepare


def folder_as_parquet(folder: Path) -> Attempt:
    (folder / "train.parquet").mkdir()
    return lambda: load_dataset(ParquetSource(root=str(folder)))


def names(value: Any) -> dict[bytes, bytes]:
    """Metadata whose class names are `value`."""
    features = {"label": {"names": value, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


OWN = {**hugging_face_metadata(["cat", "dog"]), b"craft_ray": b'{"class_names": ["cat"]}'}
DEEP = {b"huggingface": b"[" * 100_000}
MUST_NAME = r"train\.parquet: schema metadata 'huggingface' must give the names of the label"

PARQUET_FILES = [
    Case("truncated", parquet_bytes(lambda content: content[:-9]), r"val\.parquet: must be a Par"),
    Case("empty", parquet_bytes(lambda content: b""), r"val\.parquet: must be a Parquet file"),
    Case(
        "a broken footer",
        parquet_bytes(lambda content: content[:-60] + b"\xff" * 52 + content[-8:]),
        r"val\.parquet: must be a Parquet file",
    ),
    Case("a folder", folder_as_parquet, r"must have Parquet files, such as train\.parquet"),
    Case("no column", parquet(drop="label"), r"must have a column 'label', but has \['image'\]"),
    Case("words of no class", parquet(labels=("a", "b")), r"row 0: label must be one of the class"),
    Case("a label too high", parquet(labels=(0, 1, 7)), r"row 2: 0 <= label < 2 must hold, but g"),
    Case("a negative label", parquet(labels=(0, 1, -2)), r"row 2: 0 <= label < 2 .*but got -2"),
    Case("no labels", parquet(labels=(-1, None)), r"image must have a label, but of 6 none has"),
    Case("names are one word", parquet(metadata=names("cat")), MUST_NAME),
    Case("names are numbers", parquet(metadata=names([1, 2])), MUST_NAME),
    Case("names by number", parquet(metadata=names({"0": "cat", "1": "dog"})), MUST_NAME),
    Case("metadata of deep nesting", parquet(metadata=DEEP), MUST_NAME),
    Case("own names are too few", parquet(metadata=OWN), r"0 <= label < 1 must hold, but got 1"),
    Case(
        "images are numbers",
        parquet_table(pa.table({"image": [{"bytes": 1}, {"bytes": 2}], "label": [0, 1]})),
        r"train\.parquet: column image must be struct<bytes, path>",
    ),
    Case(
        "a column twice",
        parquet_table(
            pa.Table.from_arrays(
                [pa.array([{"bytes": b"x"}]), pa.array([0]), pa.array([0])],
                names=["image", "label", "label"],
            )
        ),
        r"train\.parquet: must have a column 'label' once",
    ),
    Case(
        "a root of too many letters",
        long_root,
        r"data\.source folder: '.*xxx.* must be readable, but: .*too long",
    ),
]


def split_file(content: Any) -> Callable[[Path], Attempt]:
    """The split file of a data set with one image, `images/striped/a.png`."""

    def prepare(folder: Path) -> Attempt:
        image = folder / "dtd" / "images" / "striped" / "a.png"
        image.parent.mkdir(parents=True)
        image.write_bytes(encoded(noise()))
        (folder / "secret.png").write_bytes(encoded(noise()))
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "dtd" / "split_zhou_DescribableTextures.json").write_text(text)
        return lambda: load_dataset(CoopSource(root=str(folder), dataset="dtd"))

    return prepare


def entry(*row: Any) -> Callable[[Path], Attempt]:
    """A split file with one bad entry behind a good one."""
    good = ["striped/a.png", 0, "striped"]
    return split_file({"train": [good, list(row)], "val": [], "test": [good]})


BELOW = r"DescribableTextures\.json: train entry 1: path must lead to a file below .*but got "

SPLIT_FILES = [
    Case("no JSON", split_file("{"), r"DescribableTextures\.json: must be a split file in JSON"),
    Case("deep nesting", split_file("[" * 100_000), r"must be a split file in JSON, but: .*recurs"),
    Case("a list", split_file([]), r"must be an object with lists train, val and test"),
    Case("no test", split_file({"train": [], "val": []}), r"object with lists train, val and test"),
    Case("no entries", split_file({"train": [], "val": [], "test": []}), r"at least one of train"),
    Case("absolute path", entry("/etc/passwd", 1, "dotted"), BELOW + r"'/etc/passwd'"),
    Case("a path that climbs", entry("../../secret.png", 1, "dotted"), BELOW + r"'\.\./\.\./sec"),
    Case("a path that climbs later", entry("striped/../../x", 1, "d"), BELOW + r"'striped/\.\."),
    Case("a Windows drive", entry("C:\\secret.png", 1, "dotted"), BELOW + r"'C:"),
    Case("a drive without a root", entry("C:secret.png", 1, "dotted"), BELOW + r"'C:secret"),
    Case("a Windows share", entry("\\\\host\\share\\a.png", 1, "dotted"), BELOW + r"'\\\\"),
    Case("backslashes that climb", entry("..\\..\\secret.png", 1, "dotted"), BELOW + r"'\.\."),
    Case("an empty path", entry("", 1, "dotted"), BELOW + r"''"),
    Case("the folder itself", entry(".", 1, "dotted"), BELOW + r"'\.'"),
    Case("a null character", entry("striped/a\0.png", 1, "dotted"), r"1 do not: \S*a\\x00\.png"),
    Case("no such image", entry("striped/b.png", 1, "dotted"), r"1 do not: \S*striped/b\.png"),
    Case("a label that is a word", entry("striped/a.png", "1", "dotted"), r"entry 1: must be \["),
    Case("a label that is true", entry("striped/a.png", True, "dotted"), r"entry 1: must be \["),
    Case("a negative label", entry("striped/a.png", -1, "dotted"), r"entry 1: label >= 0 must"),
    Case("a label left out", entry("striped/a.png", 2, "dotted"), r"0, 1, \.\.\., but 1 is left"),
    Case("two names of a label", entry("striped/a.png", 0, "dotted"), r"label 0 must be class 'st"),
    Case("two labels of a name", entry("striped/a.png", 1, "striped"), r"must have label 0 as in"),
    Case("a name that is null", entry("striped/a.png", 1, None), r"entry 1: must be \[path, label"),
]


def class_list(*class_names: str) -> Callable[[Path], Attempt]:
    """A data set with these classes."""

    def prepare(folder: Path) -> Attempt:
        write_parquet(folder / "data", range(len(class_names)), class_names)
        return lambda: load_dataset(ParquetSource(root=str(folder / "data")))

    return prepare


def class_folders(*names: str) -> Callable[[Path], Attempt]:
    """A tree with these class folders."""

    def prepare(folder: Path) -> Attempt:
        write_tree(folder, names)
        return lambda: load_dataset(FolderSource(root=str(folder)))

    return prepare


PRINTABLE = r"class name .* must have printable characters only, but has "
DIFFER = r"data: class names must differ, but got "

CLASS_LISTS = [
    Case("one class", class_list("cat"), r"data: at least 2 classes are needed, but got 1"),
    Case("an empty name", class_list("cat", ""), r"a class name must not be empty, but got ''"),
    Case("only spaces", class_list("cat", "  "), r"a class name must not be empty, but got '  '"),
    Case("only underscores", class_list("cat", "_ _"), r"must not be empty, but got '_ _'"),
    Case("another case", class_list("cat", "CAT"), DIFFER + r"'cat' and 'CAT'"),
    Case("other spaces", class_list("a cat", " a  cat"), DIFFER + r"'a cat' and ' a  cat'"),
    Case("an underscore", class_list("a_cat", "a cat"), DIFFER + r"'a_cat' and 'a cat'"),
    Case("the same class folder", class_folders("a_cat", "A cat"), r"class names must differ"),
    Case("wide letters", class_list("cat", "\uff43at"), DIFFER + r"'cat' and '\uff43at'"),
    Case("composed otherwise", class_list("caf\xe9", "cafe\u0301"), DIFFER + "'caf\xe9' and"),
    Case(
        "a Cyrillic letter in a Latin word",
        class_list("cat", "\u0441at"),
        r"class name '\u0441at' must not mix letters that look alike in a word, but has "
        r"'\u0441' \(CYRILLIC SMALL LETTER ES\)",
    ),
    Case(
        "a Greek letter in a Latin word",
        class_list("dog", "d\u03bfg"),
        r"must not mix letters that look alike in a word, .*GREEK SMALL LETTER OMICRON",
    ),
    Case("a line break", class_list("cat", "tin\nwhistle"), PRINTABLE + r"'\\n' \(U\+000A\)"),
    Case("a tab", class_list("cat", "tin\twhistle"), PRINTABLE + r"'\\t' \(U\+0009\)"),
    Case("a null character", class_list("cat", "d\0g"), PRINTABLE + r"'\\x00' \(U\+0000\)"),
    Case("an escape sequence", class_list("cat", "\x1b[31mdog"), PRINTABLE + r".*U\+001B"),
    Case("a right-to-left mark", class_list("cat", "\u202egod"), PRINTABLE + r".*U\+202E"),
    Case("a letter of no width", class_list("cat", "ca\u200bt"), PRINTABLE + r".*U\+200B"),
    Case("a soft hyphen", class_list("cat", "ca\u00adt"), PRINTABLE + r".*U\+00AD"),
    Case(
        "a name of too many letters",
        class_list("cat", "dog " * 500),
        r"class name 'dog dog .* must have at most 500 characters, but has 2000",
    ),
]
