"""The LlamaIndex reader on the real engine, inside LlamaIndex's own pipelines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from generating import POLITE, SEEDS, generating_client
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode

from pi_integrations import PiClient, PiJobFailed, PiUsageError
from pi_integrations.llama_index import PiSyntheticDataReader

START = {"num_pairs_to_generate": 10, "seeds": SEEDS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PiClient]:
    """Over one engine for this module."""
    with generating_client(tmp_path_factory.mktemp("jobs")) as client:
        yield client


def test_documents_say_where_they_are_from(client: PiClient) -> None:
    """Id, text and metadata; a second read replays the same job."""
    reader = PiSyntheticDataReader(client=client, start=START)
    documents = reader.load_data()
    first = documents[0]
    assert [document.metadata["index"] for document in documents] == list(range(10))
    assert first.id_ == f"{first.metadata['job_id']}-0"
    assert set(first.metadata) == {"job_id", "index", "llm_output"}
    assert [document.text for document in reader.load_data()] == [document.text for document in documents]


def test_models_do_not_see_where_documents_are_from(client: PiClient) -> None:
    """Neither the embedding nor the language model reads ids and scores."""
    reader = PiSyntheticDataReader(client=client, start=START, scoring_spec=[{"question": POLITE}], min_score=0.5)
    documents = reader.load_data()
    assert 0 < len(documents) < 10
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        shown = documents[0].get_content(mode)
        assert documents[0].metadata["llm_output"] in shown
        assert "total_score" not in shown
        assert documents[0].metadata["job_id"] not in shown


async def test_async_reading_is_native(client: PiClient) -> None:
    """One by one, and all at once, as LlamaIndex has it."""
    reader = PiSyntheticDataReader(client=client, start=START)
    streamed = [document.id_ async for document in reader.astream_data()]
    assert [document.id_ for document in await reader.aload_data()] == streamed
    assert [document.id_ for document in await reader.alazy_load_data()] == streamed


def test_documents_come_before_the_job_has_ended(client: PiClient) -> None:
    """The first of four hundred, while the rest are being made."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=400, seeds=SEEDS)
    documents = iter(PiSyntheticDataReader(job).lazy_load_data())
    next(documents)
    assert not job.status().state.final
    job.cancel()
    with pytest.raises(PiJobFailed):
        list(documents)


def test_content_is_what_was_asked_for(client: PiClient) -> None:
    """The output with the input in the metadata, or whatever a function makes of the row."""
    output = PiSyntheticDataReader(client=client, start=START, content_key="llm_output")
    assert all("llm_input" in document.metadata for document in output.load_data())
    made = PiSyntheticDataReader(job_id=output.dataset.job_id, client=client, format_content=lambda row: row.id)
    assert [document.text for document in made.load_data()] == [document.id_ for document in output.load_data()]
    with pytest.raises(PiUsageError, match="content_key"):
        PiSyntheticDataReader(client=client, start=START, content_key="answer")


def test_into_an_index(client: PiClient) -> None:
    """Through an ingestion pipeline into a vector index, and retrieved."""
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0)])
    nodes = pipeline.run(documents=list(PiSyntheticDataReader(client=client, start=START).lazy_load_data()))
    index = VectorStoreIndex(list(nodes), embed_model=MockEmbedding(embed_dim=8))
    found = index.as_retriever(similarity_top_k=2).retrieve("helmets")
    assert all(node.node.metadata["job_id"] for node in found)
