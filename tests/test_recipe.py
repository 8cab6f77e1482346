from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smidgen.errors import RecipeError
from smidgen.recipe import (
    Adam,
    Recipe,
    Step,
    list_recipes,
    load_recipe,
    override,
    parse_recipe,
    parse_setting,
    recipe_for,
    to_toml,
)
from smidgen.zoo import list_models


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model in list_models()
    assert parse_recipe(recipe.model_dump(exclude_none=True), "again") == recipe


@pytest.mark.parametrize("model", list_models())
def test_every_model_has_recipes_of_its_own(model: str) -> None:
    assert load_recipe(model).model == model


# What the documents say, word for word where they give figures.
DOCUMENTS: dict[str, dict[str, Any]] = {
    "tiny_mnist": {
        "epochs": 1, "batch_size": 64, "optimizer": {"name": "adam", "lr": 1e-3},
        "augment": {"rotation": 10.0, "translation": 0.1},
    },
    "mnist_net": {
        "epochs": 1, "batch_size": 128, "clip_norm": 0.1,
        "optimizer": {"name": "sgd", "lr": 0.15, "momentum": 0.9, "nesterov": True,
                      "weight_decay": 5e-5},
        "schedule": {"name": "onecycle", "pct_start": 0.2, "div_factor": 10.0,
                     "final_div_factor": 100.0},
        "augment": {"rotation": 2.0, "translation": 0.02},
    },
    "mnist_classifier": {
        "epochs": 20, "batch_size": 64, "optimizer": {"name": "adam", "lr": 1e-3},
        "augment": {"rotation": 7.0},
    },
    "tiny_net": {
        "epochs": 20, "batch_size": 512, "optimizer": {"name": "adam", "lr": 1e-3},
        "schedule": {"name": "step", "step_size": 15, "gamma": 0.1},
        "augment": {"rotation": 15.0, "crop_size": 22, "crop_probability": 0.1},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_recipes_are_what_the_documents_say(name: str) -> None:
    said = parse_recipe({"model": name, "full": True, **DOCUMENTS[name]}, "document")
    assert load_recipe(name) == said


def test_the_skip_networks_cycle_starts_where_its_document_says() -> None:
    recipe = load_recipe("skip_13k")
    assert (recipe.epochs, recipe.batch_size, recipe.augment.rotation) == (10, 28, 15.0)
    assert recipe.schedule.name == "onecycle"
    assert recipe.optimizer.name == "adam"
    assert recipe.optimizer.lr / recipe.schedule.div_factor == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"epoch": 3}, "recipe.toml: unknown key 'epoch'; did you mean 'epochs'"),
        (
            {"optimizer": {"name": "sgd", "learning_rate": 0.1}},
            r"unknown key 'optimizer\.learning_rate'",
        ),
        ({"augment": {"rotatoin": 1.0}}, r"did you mean 'augment\.rotation'"),
        (
            {"optimizer": {"name": "soap", "momentum": 0.9}},
            r"optimizer\.name = 'soap' has no key 'momentum'; leave it out",
        ),
        ({"step": 3}, "unknown key 'step'"),
        ({"epochs": 0}, "epochs = 0: .*greater than or equal to 1"),
        ({"epochs": "ten"}, "epochs = 'ten': .*integer"),
        ({"epochs": True}, "epochs = True: .*integer"),
        ({"optimizer": {"name": "sgd", "lr": -1.0}}, r"optimizer\.lr = -1\.0: .*greater than 0"),
        ({"optimizer": {"name": "sgd", "lr": float("nan")}}, r"optimizer\.lr = nan"),
        ({"optimizer": {"name": "sdg"}}, r"optimizer\.name = 'sdg' .* did you mean 'sgd'"),
        ({"optimizer": {"lr": 0.1}}, r"optimizer\.name is missing"),
        ({"optimizer": {"name": "sgd", "momentum": 0.0}}, "optimizer: nesterov = true needs"),
        ({"augment": {"crop_size": 22}}, "crop_size and crop_probability go together"),
        ({"schedule": "onecycle"}, "schedule"),
        ({"model": ""}, "model = ''"),
        ({"label_smoothing": 1.0}, r"label_smoothing = 1\.0"),
        (
            {"batch_size": 2**63},
            "batch_size = 9223372036854775808: .*less than or equal to 1000000",
        ),
        ({"epochs": 10**20}, "epochs = 1000.*: .*less than or equal to 1000000"),
        ({"workers": 10**20}, "workers = 1000.*: .*less than or equal to 1024"),
        (
            {"augment": {"cutout": 10**20 - 1}},
            r"augment\.cutout = 9{20}: .*less than or equal to 128",
        ),
        ({"augment": {"mixup": 1e308}}, r"augment\.mixup = 1e\+308: .*less than or equal to 1000"),
        ({"augment": {"elastic": 1e300}}, r"augment\.elastic = 1e\+300: .*or equal to 128"),
        ({"augment": {"cutout": 1 << 20_000}}, r"cutout = a value of type int that is too large"),
        (
            {"model": "n" * 5000},
            r"model = 'n{96}\.\.\.: .*at most 4096 characters",
        ),
    ],
)
def test_what_is_not_allowed_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"model": "tiny_mnist"} | document, source="recipe.toml")


def test_a_recipe_needs_a_model() -> None:
    with pytest.raises(RecipeError, match="the key 'model' is missing"):
        parse_recipe({}, source="recipe.toml")
    with pytest.raises(RecipeError, match="name a model or a --recipe"):
        recipe_for(None, None, {})


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown recipe 'tiny_mnst'; did you mean 'tiny_mnist"):
        load_recipe("tiny_mnst")
    with pytest.raises(RecipeError, match=r"cannot read .*none\.toml"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    with pytest.raises(RecipeError, match=r"bad\.toml' is not TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"binary\.toml': it is not UTF-8"):
        load_recipe(tmp_path / "binary.toml")


UNREADABLE = {
    "a = " + "[" * 100_000: "nested too deeply",
    "a = " + "{a = " * 100_000: "nested too deeply",
    "epochs = " + "9" * 5000: r"is not TOML: Exceeds the limit \(4300 digits\)",
    "model = 'net'\naugment.crop_size = 1e400\naugment.crop_probability = 0.5": "crop_size = inf",
    "model = 'net'\nepochs = 0x" + "f" * 5000: "epochs = a value of type int that is too large",
    "#" * (4 * 2**20 + 1): "is too large; at most 4,194,304 bytes are read",
}


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:20])
def test_a_file_that_is_meant_to_break_the_reader_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(RecipeError, match=UNREADABLE[text]) as refused:
        load_recipe(tmp_path / "odd.toml")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["a" * 300 + ".toml", "a\0.toml", "/dev/zero.toml", "/dev/zero"])
def test_a_name_that_is_no_files_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for path in (name, str(tmp_path / "zero.toml")):
        with pytest.raises(RecipeError, match=r"cannot read|unknown recipe"):
            load_recipe(path)


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000, "1\nfull = true", "0x" + "f" * 5000])
def test_a_setting_that_is_no_toml_is_a_text(value: str) -> None:
    with pytest.raises(RecipeError, match=r"--set: epochs = .*: should be") as refused:
        override(load_recipe("tiny_mnist"), dict([parse_setting(f"epochs={value}")]))
    assert len(str(refused.value)) < 300


def test_override_changes_dotted_keys() -> None:
    recipe = override(load_recipe("tiny_net"), {"schedule.step_size": 3, "epochs": 5})
    assert recipe.schedule == Step(step_size=3, gamma=0.1)
    assert recipe.epochs == 5
    assert load_recipe("tiny_net").epochs == 20


def test_a_new_optimizer_keeps_rate_and_decay_alone() -> None:
    recipe = override(load_recipe("mnist_net"), {"optimizer.name": "adamw"})
    assert recipe.optimizer == Adam(name="adamw", lr=0.15, weight_decay=5e-5)


def test_a_table_is_no_value() -> None:
    with pytest.raises(RecipeError, match=r"--set epochs\.x: 'epochs' is a value, not a table"):
        override(load_recipe("tiny_mnist"), {"epochs.x": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("optimizer.lr = 1e-3", ("optimizer.lr", 1e-3)),
        ("full=true", ("full", True)),
        ("schedule.name=cosine", ("schedule.name", "cosine")),
        ("data=idx:C:/x", ("data", "idx:C:/x")),
    ],
)
def test_settings_are_read_as_toml_or_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs="])
def test_a_setting_is_key_and_value(text: str) -> None:
    with pytest.raises(RecipeError, match="is not key=value"):
        parse_setting(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*Recipe.model_fields, "optimizer.lr", "augment.scale", "x"]), json_values)
def test_any_value_is_taken_whole_or_refused_in_words(key: str, value: Any) -> None:
    base = load_recipe("tiny_mnist")
    try:
        changed = override(base, {key: value})
    except RecipeError:
        return
    assert parse_recipe(changed.model_dump(exclude_none=True), "again") == changed


@given(
    st.integers(1, 99), st.integers(2, 512), st.floats(1e-6, 1.0),
    st.sampled_from(["sgd", "adam", "adamw"]), st.floats(0, 180),
)  # fmt: skip
def test_a_recipe_survives_toml(
    tmp_path_factory: pytest.TempPathFactory,
    epochs: int, batch_size: int, lr: float, optimizer: str, rotation: float,
) -> None:  # fmt: skip
    recipe = override(
        load_recipe("tiny_mnist"),
        {"epochs": epochs, "batch_size": batch_size, "optimizer.name": optimizer,
         "optimizer.lr": lr, "augment.rotation": rotation},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("toml") / "recipe.toml"
    path.write_text(to_toml(recipe))
    assert load_recipe(path) == recipe
