"""One server or a cluster as the verbs see it: which has which keys, scripts on partitions, and wake-ups."""
