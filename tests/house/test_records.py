import dataclasses
import inspect


def test_public_records_are_frozen_slotted_and_keyword_only(modules):
    public = [module for module in modules if "._" not in module.__name__]
    values = {value for module in public for name in module.__all__ if inspect.isclass(value := getattr(module, name))}
    records = [value for value in values if dataclasses.is_dataclass(value)]
    assert records
    for record in records:
        where = f"{record.__module__}.{record.__name__}"
        assert record.__dataclass_params__.frozen, where
        assert "__slots__" in vars(record), where
        assert all(field.kw_only for field in dataclasses.fields(record)), where
