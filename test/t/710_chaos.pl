# Writers against a model, while everything goes wrong (make chaos): nothing is lost, nothing is told that was not committed.
# CHAOS_SEED=n repeats the choices of a run; CHAOS_SECONDS=n is how long it goes on.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos;
use Test::More;

my $seed = $ENV{CHAOS_SEED} || time % 1_000_000;
note "CHAOS_SEED=$seed";
END { diag "CHAOS_SEED=$seed" unless Test::More->builder->is_passing }

my $chaos = ActivateTest::Chaos->new(seed => $seed);
$chaos->run($ENV{CHAOS_SECONDS} || 15);
$chaos->judge;
$chaos->{node}->stop('fast');
done_testing();
