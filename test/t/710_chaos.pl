# Writers against a model, while everything goes wrong (make chaos): nothing is lost, nothing is told that was not committed.
# The choices are those of CHAOS_SEED, the same each time unless another is given (make chaos takes one from the clock);
# CHAOS_SECONDS=n is how long it goes on.
use ActivateTest::SmallDisk;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos;
use Test::More;

my $seed = $ENV{CHAOS_SEED} || 1;
note "CHAOS_SEED=$seed";
END { diag "CHAOS_SEED=$seed" unless Test::More->builder->is_passing }

my $chaos = ActivateTest::Chaos->new(seed => $seed);
$chaos->run($ENV{CHAOS_SECONDS} || 15);
$chaos->judge;
$chaos->{node}->stop('fast');
done_testing();
