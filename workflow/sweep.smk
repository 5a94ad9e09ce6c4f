"""One rule, one task of a sweep: its methods are trained one after another by one process.

    make sweep SWEEP=main                                             # this, with progress and time left
    snakemake --snakefile workflow/sweep.smk --workflow-profile workflow/profiles/slurm --config sweep=main

More entries for --config: data_dir_<data>, seeds, methods, runs (folder of all runs).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(workflow.basedir))

import sweep_file
from sweep_plan import TASKS, prepare, selected, task_plans

PYTHON = sys.executable
PENDING = []
# A job on another node gets its target by name; only the first process has to know all of them.
if workflow.is_main_process:
    SWEEPS, CONFIGS = selected(config)
    PENDING = task_plans(CONFIGS)
    if config.get("prepared"):  # by `make sweep`
        PENDING = [plan for plan in PENDING if not plan.file(".done").exists()]
    else:
        for sweep in SWEEPS:
            sweep_file.check(sweep)
        PENDING = prepare(PENDING)
# Earlier tasks first: a sweep orders them by seed, so that one that is stopped early is balanced.
PRIORITY = {str(plan.file(".done")): len(PENDING) - position for position, plan in enumerate(PENDING)}


localrules:
    sweep,


rule sweep:
    input:
        list(PRIORITY),


rule task:
    input:
        f"{{runs}}/{TASKS}/{{task}}.json",
    output:
        f"{{runs}}/{TASKS}/{{task}}.done",
    log:
        f"{{runs}}/{TASKS}/{{task}}.log",
    priority: lambda wildcards: PRIORITY.get(f"{wildcards.runs}/{TASKS}/{wildcards.task}.done", 0)
    threads: 1
    resources:
        mem_mb=3000,
        runtime=240,
    shell:
        "OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} {PYTHON:q} workflow/sweep_task.py {input:q} > {log:q} 2>&1"
