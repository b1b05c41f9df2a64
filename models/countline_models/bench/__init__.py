"""Measures how fast Triton runs a model by batch size, instances and queue delay, and recommends a setting.

The method is that of NVIDIA's perf_analyzer and model_analyzer (triton-inference-server/perf_analyzer, docs/cli.md and
docs/measurements_metrics.md): each setting loads the model again and keeps a constant number of requests in flight. The
warm-up, until every sender has had answers, is discarded. Then windows of time are measured until three in a row agree
within 10 % in throughput and latency.

`points` and `recommend` are pure; `load` sends requests, `sweep` goes through the settings, `chart` draws.
"""
