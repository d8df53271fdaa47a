# A few names for what script/ does.
.PHONY: all run test check bench bench-growth bench-micro bench-guard soak fuzz crash interop install clean
all:
	script/bootstrap
	script/build
run:
	script/server
test:
	script/test
check: ## the gates: warnings under both compilers, layers, headers alone, function sizes, format, static analysis
	script/bootstrap test
	script/check
bench: ## beside Postfix + Dovecot, ROUNDS times (default 3); needs root
	script/bootstrap bench
	script/build
	bench/compare --rounds $${ROUNDS:-3}
bench-growth: ## cost by messages, accounts and connections, MINUTES long at most (default 20)
	script/bootstrap
	script/build
	bench/growth --minutes $${MINUTES:-20}
soak: ## mixed load with cut connections, every message compared, MINUTES long (default 30)
	script/bootstrap
	script/build
	bench/soak --minutes $${MINUTES:-30}
bench-micro: ## the microbenchmarks, from the engine to whole IMAP sessions
	script/bootstrap
	bench/run
bench-guard: ## instruction counts of the hot paths; fails when one grew by more than 10 %
	script/bootstrap guard
	script/build
	bench/guard
fuzz: ## every fuzz target, MINUTES each (default 10)
	script/bootstrap test
	script/fuzz $${MINUTES:-10}
crash: ## kill -9 under load, ROUNDS times (default 50)
	script/bootstrap test
	python3 test/crash/torture.py --rounds $${ROUNDS:-50}
interop: ## real clients and servers, also those that are not in `test`
	script/bootstrap test
	python3 test/run.py interop
install: all
	meson install -C build
clean:
	rm -rf build build-*
