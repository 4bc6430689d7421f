# One papermill run of a chapter for every run of the plan that `python -m fer_lib rerun` wrote.
import json
import sys

PLAN = json.loads(open("plan.json").read())


rule all:
    input:
        expand("{run}.json", run=PLAN),


rule run:
    input:
        lambda wildcards: PLAN[wildcards.run]["after"],
    output:
        # Not removed before a job: a run that outlived a killed batch may have written it meanwhile.
        update("{run}.json"),
    log:
        "{run}.log",
    params:
        chapter=lambda wildcards: PLAN[wildcards.run]["chapter"],
        python=sys.executable,
        job=f"{workflow.basedir}/tools/job.py",
    wildcard_constraints:
        run=".+",
    threads: 1
    resources:
        gpu=lambda wildcards: PLAN[wildcards.run]["gpu"],
    shell:
        "OMP_NUM_THREADS={threads} {params.python:q} {params.job:q} {output:q} {params.chapter:q}"
        " {wildcards.run:q}.ipynb {wildcards.run:q}.yaml > {log:q} 2>&1"
