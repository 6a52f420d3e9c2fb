"""The one seam to a chat model: asking, fence, replies, failures and budget, for judges and generators alike."""
