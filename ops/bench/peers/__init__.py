"""One module a system, each with the same four functions, run in that system's own environment.

    prepare()              make what the system needs in an empty database
    enqueue(number)        ask for one job
    enqueue_bulk(numbers)  ask for many, the way the system's documentation says is best
    work()                 become the system's own worker

`enqueue` and `enqueue_bulk` may be coroutine functions. The job itself is `mark(number)` and nothing else.
"""
