"""The LangChain loader on the real engine, inside LangChain's own pipelines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from generating import POLITE, SEEDS, generating_client
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import CharacterTextSplitter

from pi_integrations import PiClient, PiJobFailed, PiUsageError
from pi_integrations.langchain import PiSyntheticDataLoader

START = {"num_pairs_to_generate": 10, "seeds": SEEDS}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PiClient]:
    """Over one engine for this module."""
    with generating_client(tmp_path_factory.mktemp("jobs")) as client:
        yield client


def test_documents_say_where_they_are_from(client: PiClient) -> None:
    """Id, content and metadata; a second load replays the same job."""
    loader = PiSyntheticDataLoader(client=client, start=START)
    documents = loader.load()
    first = documents[0]
    assert [document.metadata["index"] for document in documents] == list(range(10))
    assert first.id == f"{first.metadata['job_id']}-0"
    assert first.page_content == first.metadata["llm_input"]
    assert first.metadata["llm_output"]
    assert loader.load() == documents


async def test_async_loading_is_native(client: PiClient) -> None:
    """The same documents, from the caller's own loop, and from a job that is named."""
    loader = PiSyntheticDataLoader(client=client, start=START)
    documents = [document async for document in loader.alazy_load()]
    again = PiSyntheticDataLoader(client=client.asynchronous, job_id=loader.dataset.job_id)
    assert await again.aload() == documents
    assert len(documents) == 10


def test_documents_come_before_the_job_has_ended(client: PiClient) -> None:
    """The first of four hundred, while the rest are being made."""
    job = client.data.generate_input_response_pairs.start_job(num_pairs_to_generate=400, seeds=SEEDS)
    documents = PiSyntheticDataLoader(job).lazy_load()
    next(documents)
    assert not job.status().state.final
    job.cancel()
    with pytest.raises(PiJobFailed):
        list(documents)


def test_good_documents_alone(client: PiClient) -> None:
    """`min_score` with a spec; scores in the metadata."""
    loader = PiSyntheticDataLoader(client=client, start=START, scoring_spec=[{"question": POLITE}], min_score=0.5)
    documents = loader.load()
    assert 0 < len(documents) < 10
    assert {document.metadata["total_score"] for document in documents} == {0.9}
    assert documents[0].metadata["question_scores"] == {POLITE: 0.9}


def test_content_is_what_was_asked_for(client: PiClient) -> None:
    """The output, or whatever a function makes of the row."""
    output = PiSyntheticDataLoader(client=client, start=START, content_key="llm_output")
    assert [d.page_content for d in output.load()] == [d.metadata["llm_output"] for d in output.load()]
    made = PiSyntheticDataLoader(job_id=output.dataset.job_id, client=client, format_content=lambda row: row.id)
    assert [d.page_content for d in made.load()] == [d.id for d in output.load()]
    with pytest.raises(PiUsageError, match="content_key"):
        PiSyntheticDataLoader(client=client, start=START, content_key="answer")


def test_inputs_have_no_output_to_show(client: PiClient) -> None:
    """A job of inputs loads its inputs; asked for outputs it says why not."""
    start = {"num_inputs_to_generate": 5, "seeds": ["Do you sell helmets?"]}
    loader = PiSyntheticDataLoader(client=client, start=start, kind="inputs")
    assert "llm_output" not in loader.load()[0].metadata
    wrong = PiSyntheticDataLoader(client=client, job_id=loader.dataset.job_id, kind="inputs", content_key="llm_output")
    with pytest.raises(PiUsageError, match="llm_output"):
        wrong.load()


async def test_into_a_vector_store(client: PiClient) -> None:
    """Split, embedded and found again, with the metadata they came with."""
    loader = PiSyntheticDataLoader(client=client, start=START, format_content=lambda row: f"{row.llm_input}\n\n" * 3)
    splitter = CharacterTextSplitter(chunk_size=120, chunk_overlap=0)
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    chunks: list[Document] = []
    async for document in loader.alazy_load():
        chunks += splitter.split_documents([document])
    await store.aadd_documents(chunks)
    found = await store.asimilarity_search(chunks[0].page_content, k=1)
    assert found[0].metadata["job_id"] == loader.dataset.job_id
