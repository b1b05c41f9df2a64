"""How fast Triton runs a model, by batch size, instances and queue delay, and which of these to choose.

The method is that of NVIDIA's perf_analyzer and model_analyzer (triton-inference-server/perf_analyzer, docs/cli.md and
docs/measurements_metrics.md): for each setting the model is loaded anew, a constant number of requests is kept in
flight, what comes before every sender has had answers is thrown away, and windows of time are measured until three in
a row agree within 10 % in throughput and latency.

`points` and `recommend` are pure; `load` sends, `sweep` goes through the settings, `chart` draws.
"""
