"""Pi scoring for LangChain, LlamaIndex and the shell."""
