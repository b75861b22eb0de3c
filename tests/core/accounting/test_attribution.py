import asyncio

import pytest
from thrift_core.accounting.attribution import attribute, current_attribution, from_metadata
from thrift_core.accounting.call import Attribution


def test_blocks_nest_and_inner_names_win():
    with attribute(feature="search", user="ann"):
        with attribute(feature="rerank", task="t1"):
            assert current_attribution() == Attribution(feature="rerank", user="ann", task="t1")
        assert current_attribution() == Attribution(feature="search", user="ann")
    assert current_attribution() == Attribution()


def test_a_block_ends_when_it_raises():
    with pytest.raises(KeyError), attribute(user="ann"):
        raise KeyError
    assert current_attribution() == Attribution()


async def test_concurrent_tasks_do_not_see_each_others_blocks():
    async def work(user):
        with attribute(user=user):
            await asyncio.sleep(0)
            return current_attribution().user

    assert await asyncio.gather(*(work(f"u{i}") for i in range(20))) == [f"u{i}" for i in range(20)]


def test_metadata_is_read_under_the_names_apps_use():
    found = from_metadata({"user_id": 7, "thread_id": "th", "task": "t", "org_id": "acme", "thrift_feature": "f"})
    assert found == Attribution(feature="f", user="7", tenant="acme", task="t", run="th")


def test_tags_fill_what_metadata_leaves_open():
    found = from_metadata({"feature": "metadata"}, ("feature:tag", "user:ann", "plain", "url:http://x"))
    assert found == Attribution(feature="metadata", user="ann")


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_empty_values_count_as_not_given(empty):
    assert from_metadata({"user": empty, "user_id": "ann"}).user == "ann"
