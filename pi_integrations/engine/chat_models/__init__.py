"""What every use of a LangChain chat model shares, whether it judges or generates."""
