"""The untrusted side: a process that imports a learner's file and runs it. It holds no grader code and no secret.

Everything that it sends back is a claim; the trusted side (`gpuprep.grading`) judges.
"""
